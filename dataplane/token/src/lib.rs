//! JWT: verified with given keys at a given time

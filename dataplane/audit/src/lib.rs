//! Records of decisions and acts, each carrying the hash of the one before

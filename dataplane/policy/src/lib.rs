//! The rule language, its compiled table and the one function that decides

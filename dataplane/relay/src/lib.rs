//! Joins two ends and says how it ended

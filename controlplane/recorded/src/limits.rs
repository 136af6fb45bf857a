//! The named limits of this room: how much of what was recorded is held, and when paths become one rule.

pub use adit_audit::limits::LINE_BYTES_MAX;

/// Different requests held, granted and denied ones apart. Default 100,000 of each: what a year of traffic to a large
/// landscape asks for, keys of single records not counted. Worst case 200,000 x (2 x 1,024 bytes of caller and path, and
/// 200) = 450 MB; of texts as long as people write them about 40 MB. Further granted ones are held by rule and method.
pub const REQUESTS_MAX: usize = 100_000;

/// Pairs of rule and method held beyond [`REQUESTS_MAX`]. Default 10,000: a rule set with as many used rules. Worst case
/// 10,000 x 2,300 bytes = 23 MB. Further ones are counted.
pub const FOLDED_MAX: usize = 10_000;

/// Paths that become a rule each; more of them below one path become one rule for all below it, where it does not fork
/// into few. Default 16: a person reads as many.
pub const EXACT_PATHS_MAX: usize = 16;

/// Branches of a path that are followed when it has more than [`EXACT_PATHS_MAX`] paths below it. Default 8: services
/// under one folder are few, keys of records are many.
pub const BRANCHES_MAX: usize = 8;

//! The named limits of this room.

/// Bytes of one text of a record, after escaping; longer ones are cut and say so. Default 1,024: a path that does not
/// fit is not read by people anyway, and its request is refused or forwarded whatever its record says.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Bytes of one line with its line feed. Default 32 KiB: twelve texts of [`TEXT_BYTES_MAX`], each byte doubled by JSON,
/// with room for the rest. Nothing longer was ever written, so a verifier refuses it unread; that is also the memory it
/// needs.
pub const LINE_BYTES_MAX: usize = 32 * 1024;

const _: () = assert!(12 * 2 * (TEXT_BYTES_MAX + 64) + 2048 < LINE_BYTES_MAX);

/// Different requests in one answer about recorded traffic, while a node puts it together. Default 10,000: a page of
/// records has some 100,000. Worst case 10,000 x 5,000 bytes = 50 MB; as people write names and paths 3 MB. Further
/// grants are held by rule.
pub const TRAFFIC_REQUESTS_MAX: usize = 10_000;

/// Pairs of system, rule and method of grants that are held by rule. Default 1,000: a rule set with as many used rules.
/// Worst case 1,000 x 3,500 bytes = 3.5 MB. Further ones are counted.
pub const TRAFFIC_RULES_MAX: usize = 1_000;

/// Bytes of an answer about recorded traffic, as JSON. Default 480 KiB: as a text in another JSON it may double, and has
/// to stay below 1 MiB. 2,000 requests; of more, the rarest are told by rule.
pub const TRAFFIC_BYTES_MAX: usize = 480 * 1024;

//! The named limits of this room: what a rule set may contain at most, and why.
//!
//! A request needs no limit here: judging one is linear in its length and keeps nothing.

/// Bytes of one rule set's text. Default 128 MiB: a million resources of about 100 bytes each fit. While it is read it
/// takes about 7 times the text where it is written plainly, one thing a line; otherwise the parsed document takes up to
/// about 16 times, which stays the worst case. Afterwards the table takes about 3 times.
pub const RULES_TEXT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Systems of one rule set. Default 100,000: ten times the largest landscape planned for. Worst case
/// 100,000 x 400 bytes = 40 MB, resources not counted.
pub const SYSTEMS_MAX: usize = 100_000;

/// Resources of one rule set, all systems together. Default 2,000,000. Worst case 2,000,000 x
/// (200 bytes + path + description), itself bounded by [`RULES_TEXT_BYTES_MAX`].
pub const RESOURCES_MAX: usize = 2_000_000;

/// Tests of one rule set. Default 10,000: ten for each system of a large landscape; judging as many takes some tens of
/// milliseconds. Worst case 10,000 x (300 bytes + name + 2 x request), about 90 MB; of names and requests as long as
/// people write them about 5 MB.
pub const TESTS_MAX: usize = 10_000;

/// Bytes of the request of a test. Default 4,096: a path of [`RULE_PATH_BYTES_MAX`] bytes fits, and so do host and
/// method. Kept twice, as it is written and as it is judged.
pub const TEST_REQUEST_BYTES_MAX: usize = 4096;

/// Bytes of one resource's path. Default 2,048: longer than any path a person writes into a rule, short enough that
/// one rule makes at most 1,024 nodes of 32 bytes in the table.
pub const RULE_PATH_BYTES_MAX: usize = 2048;

/// Bytes of a host name (RFC 1035, section 2.3.4). Held on the stack while a request is judged.
pub const HOST_BYTES_MAX: usize = 253;

/// Bytes of one label of a host name (RFC 1035, section 2.3.4).
pub const HOST_LABEL_BYTES_MAX: usize = 63;

/// Characters of a system's name. Default 64: it stands in log lines and metric labels.
pub const SYSTEM_NAME_CHARS_MAX: usize = 64;

/// Bytes of a description. Default 1,024: a paragraph.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Bytes of a file name in a rule. Default 4,096 (Linux `PATH_MAX`).
pub const FILE_NAME_BYTES_MAX: usize = 4096;

/// Methods listed by one resource. Default 64: more than are registered.
pub const METHODS_MAX: usize = 64;

/// Bytes of one method. Default 32: the longest registered one has 17 (`UPDATEREDIRECTREF`).
pub const METHOD_BYTES_MAX: usize = 32;

/// Problems reported for one rule set. Default 100: who has more mends those first. While a text is read ten times as
/// many are kept, of [`PROBLEM_BYTES_MAX`] each: 1 MB at most.
pub const PROBLEMS_MAX: usize = 100;

/// Bytes of one problem's message; longer ones are cut. Default 1,024: the longest of our own sentences fits with the
/// values people write, a value of megabytes does not.
pub const PROBLEM_BYTES_MAX: usize = 1024;

/// Lines of a plan; further ones are counted. Default 1,000: more than anybody reads. Worst case 1,000 x
/// ([`PLAN_EXCEPTIONS_MAX`] + 1) x (3 x [`RULE_PATH_BYTES_MAX`] + 100 bytes), about 210 MB; of paths as long as people
/// write them about 3 MB.
pub const PLAN_LINES_MAX: usize = 1000;

/// Exceptions named in one line of a plan; further ones are counted. Default 32: who has more reads the lines of their
/// own that they have.
pub const PLAN_EXCEPTIONS_MAX: usize = 32;

/// Decisions asked for to make one plan. Default 200,000,000: a minute. A change of a million resources takes some
/// twenty millions.
pub const PLAN_DECISIONS_MAX: u64 = 200_000_000;

/// Layers of percent-encoding that are followed before a path is refused. Default 8: nobody means nine, and each
/// layer costs one more pass over the segment.
pub const ENCODING_LAYERS_MAX: usize = 8;

/// Siblings looked at to find the rule that came closest to a denied request. Default 256: bounds what a denied
/// request costs to a few microseconds however many resources a system has.
pub const CLOSEST_SIBLINGS_MAX: usize = 256;

/// Bytes of a request repeated in a message for operators; longer ones are cut. Default 256.
pub const QUOTED_BYTES_MAX: usize = 256;

const _: () =
    assert!(RULE_PATH_BYTES_MAX + HOST_BYTES_MAX + METHOD_BYTES_MAX < TEST_REQUEST_BYTES_MAX);
const _: () = assert!(HOST_LABEL_BYTES_MAX < HOST_BYTES_MAX);

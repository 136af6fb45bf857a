//! The named limits of the REST door that its callers see.

/// Items of one page of a list. Default and most 200: the answer stays below 200 x 4 KiB = 800 KiB.
pub const PAGE_ITEMS_MAX: u64 = 200;

/// Bytes of a JSON body. 64 KiB: the largest is a user with a hundred grants. Read only after the caller is known, but
/// for `setup` and `logins`, whose bodies are held to [`OPEN_BODY_BYTES_MAX`].
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a body that is read before the caller is known. 16 KiB: a name and a password.
pub const OPEN_BODY_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a rule set. 64 MiB: what an agent takes. Held three times while it is compiled and stored: 192 MiB.
pub const RULES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of the message that goes with a change. 1,024: a paragraph; kept with every version and act.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Days that recorded decisions can be asked for. Most 366: a year; without a word it is the last 7.
pub const TRAFFIC_DAYS_MAX: u64 = 366;

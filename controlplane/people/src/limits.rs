//! Every limit of this room, each with its unit, default, reason and worst-case memory.

use core::time::Duration;

/// Longest subaccount, in bytes (all of them ASCII).
///
/// 128, as everywhere else. Worst-case memory: that, for each grant.
pub const SUBACCOUNT_BYTES_MAX: usize = 128;

/// Longest user name, in bytes.
///
/// 128: mail addresses of people are shorter. Worst-case memory: that, for each user, login and API token.
pub const USER_NAME_BYTES_MAX: usize = 128;

/// Longest label of an API token, in bytes.
///
/// 128: a line of a list. Worst-case memory: that, for each API token.
pub const LABEL_BYTES_MAX: usize = 128;

/// Most grants of one user, API token or group of an issuer.
///
/// 256: whoever has a role in more subaccounts has it in all of them. Worst-case memory: 256 x 160 B = 40 KiB.
pub const GRANTS_MAX: usize = 256;

/// Shortest password, in bytes.
///
/// 12: above the 8 that NIST SP 800-63B asks for, and what a person can still choose freely. No memory.
pub const PASSWORD_BYTES_MIN: usize = 12;

/// Longest password, in bytes.
///
/// 256: NIST SP 800-63B wants 64 characters at least, and a character has up to 4 bytes. Worst-case memory: that, once.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Most memory that checking one stored password may take, in KiB.
///
/// 256 MiB: eight times what new ones take, so that a later version can ask for more and an earlier one still check it.
/// Worst-case memory: that, for each check under way.
pub const HASH_MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Most work that checking one stored password may cost: KiB of memory times passes.
///
/// 1 GiB: about 1 s on one processor. No memory.
pub const HASH_WORK_KIB_MAX: u64 = 1024 * 1024;

/// Most lanes of a stored password; they are computed one after another.
///
/// 16: others use 1 to 4. No memory.
pub const HASH_LANES_MAX: u32 = 16;

/// Longest life of an API token, in seconds.
///
/// 1 year and a day: what is renewed yearly can overlap. No memory.
pub const API_TOKEN_LIFE_S_MAX: u64 = 366 * 24 * 60 * 60;

/// Failed logins for one user name within [`FAILURES_WINDOW`], before further tries wait.
///
/// 5: people who mistype, and no dictionary. No memory.
pub const FAILURES_PER_USER_MAX: u32 = 5;

/// Failed logins from one source within [`FAILURES_WINDOW`], before further tries wait.
///
/// 20: an office behind one address is many people. No memory.
pub const FAILURES_PER_SOURCE_MAX: u32 = 20;

/// How long failures are counted together.
///
/// 1 minute: see above. No memory.
pub const FAILURES_WINDOW: Duration = Duration::from_secs(60);

/// First wait after too many failures; each further failure doubles it.
///
/// 5 s: a person does not mind. No memory.
pub const WAIT_FIRST: Duration = Duration::from_secs(5);

/// Longest wait after a failure. Nobody is locked out for longer by failures that have been.
///
/// 5 minutes: 288 guesses a day for one name. No memory.
pub const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// How long after its last failure a name or source is forgotten.
///
/// 15 minutes: three times the longest wait, so that waiting alone does not shorten the next wait. No memory.
pub const FAILURES_REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// Most names and sources of failed logins remembered at once. The least suspicious goes first.
///
/// 10,000: a guesser has to fail for each of them. Worst-case memory: 10,000 x 160 B = 1.6 MB.
pub const THROTTLED_MAX: usize = 10_000;

/// Largest document in which an issuer says where its keys are, in bytes.
///
/// 64 KiB: those of the large providers have 2 to 6 KiB. Worst-case memory: that, once for each issuer.
pub const DISCOVERY_BYTES_MAX: usize = 64 * 1024;

/// Longest address of an issuer's keys, in bytes.
///
/// 2 KiB: fits every head. Worst-case memory: that, once for each issuer.
pub const URL_BYTES_MAX: usize = 2048;

const _: () = assert!(
    PASSWORD_BYTES_MIN <= PASSWORD_BYTES_MAX,
    "there are passwords to choose from"
);
const _: () = assert!(
    USER_NAME_BYTES_MAX <= adit_token::limits::NAME_BYTES_MAX
        && SUBACCOUNT_BYTES_MAX == adit_token::limits::SUBACCOUNT_CHARS_MAX,
    "names here are names of callers too"
);

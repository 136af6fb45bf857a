//! Every limit of this room, each with its unit, default, reason and worst-case memory.
//!
//! The numbers are checked where they apply; nothing here measures anything.

/// Largest token that is looked at unless the settings say otherwise, in bytes.
///
/// Default 16 KiB: twice the longest header line the HTTP door takes, so a token that fits a
/// request always fits here. Worst-case memory while verifying: the decoded parts (3/4 of it) plus
/// the JSON tree, at most 24 times the token for `[0,0,..]`: under 512 KiB, freed at once.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Highest value `Settings::max_bytes` may take, in bytes; larger settings are cut to it.
///
/// 64 KiB: what the SOCKS5 door can carry at most. Worst-case memory: under 2 MiB, freed at once.
pub const TOKEN_BYTES_CEILING: usize = 64 * 1024;

/// Longest leeway for `exp` and `nbf`, in seconds; larger settings are cut to it.
///
/// 60 s: what clocks kept by NTP never exceed; more would lengthen every token's life. No memory.
pub const LEEWAY_S_MAX: u64 = 60;

/// Largest JWKS document, in bytes.
///
/// 256 KiB: 64 RSA keys of 8192 bits with certificate chains. Worst-case memory: 24 times for the
/// JSON tree, 6 MiB, freed when the set is built.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Most keys of one JWKS.
///
/// 64: issuers publish two to ten. Worst-case memory: 64 x (1 KiB key + 256 B id) = 80 KiB.
pub const KEYS_MAX: usize = 64;

/// Most keys tried for one token that names no key.
///
/// 8: bounds the signature checks one request can ask for (8 x about 50 us). No memory.
pub const KEYS_TRIED_MAX: usize = 8;

/// Longest key id in a token or a JWKS, in bytes.
///
/// 256: issuers use hashes and short names. Worst-case memory: 256 B for each key.
pub const KID_BYTES_MAX: usize = 256;

/// Smallest RSA modulus, in bits (NIST SP 800-131A). No memory.
pub const RSA_BITS_MIN: usize = 2048;

/// Largest RSA modulus, in bits: what ring checks, about 0.5 ms a signature.
///
/// Worst-case memory: 1 KiB for each key.
pub const RSA_BITS_MAX: usize = 8192;

/// Longest subaccount, in characters (all of them ASCII, so also in bytes).
///
/// 128: a UUID has 36. It is a part of certificates, metrics lookups and audit records.
/// Worst-case memory: 128 B for each cached caller.
pub const SUBACCOUNT_CHARS_MAX: usize = 128;

/// Longest client or user name taken from a token, in bytes.
///
/// 256: longer than any mail address (254). Worst-case memory: 512 B for each cached caller.
pub const NAME_BYTES_MAX: usize = 256;

/// Most of a foreign string that an error message repeats, in characters.
///
/// 64: enough to recognise a misspelt issuer. Worst-case memory: 256 B for each error.
pub const QUOTED_CHARS_MAX: usize = 64;

const _: () = assert!(
    TOKEN_BYTES_MAX <= TOKEN_BYTES_CEILING,
    "the default is allowed"
);
const _: () = assert!(
    KEYS_TRIED_MAX <= KEYS_MAX,
    "no more is tried than there can be"
);
const _: () = assert!(
    RSA_BITS_MIN < RSA_BITS_MAX,
    "there are RSA sizes to choose from"
);

//! The limits of this room, each with its unit, default, reason and worst-case memory.

use core::time::Duration;

/// Longest name or subaccount, in characters.
///
/// 128: what tokens may carry as subaccount too. Worst-case memory: two of them in each identity.
pub const NAME_CHARS_MAX: usize = 128;

/// Longest trust domain, in bytes.
///
/// 255: SPIFFE-ID, section 2.3. Worst-case memory: one in each authority and identity that is written.
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Longest certificate signing request, in bytes of PEM.
///
/// 8 KiB: one with a P-384 key takes 600, with every extension openssl offers 2,000. Worst-case memory: twice that, while
/// it is read.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Longest certificate that a node shows after it has expired, in bytes of PEM.
///
/// 8 KiB: ours take about 900, with the longest names 2,500. Worst-case memory: twice that, while it is read.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// Shortest life of a certificate.
///
/// 10 s: below that it has expired before its node has it. No memory.
pub const LIFE_MIN: Duration = Duration::from_secs(10);

/// Longest life of a certificate.
///
/// 36,500 days: a century, and far from the end of the calendar in X.509 (the year 9999). No memory.
pub const LIFE_MAX: Duration = Duration::from_secs(36_500 * 86_400);

/// Most DNS names and addresses of a server of the control plane.
///
/// 64: more than any has; a certificate with all of them at their longest has 17 KiB. Worst-case memory: that.
pub const SERVER_NAMES_MAX: usize = 64;

/// Longest DNS name, in bytes.
///
/// 253: RFC 1035, section 2.3.4, without the root's dot. In the above.
pub const DNS_NAME_BYTES_MAX: usize = 253;

/// Longest word that says what sealed bytes are for, in bytes.
///
/// 64: a word of ours, so that a backup is not taken for an authority. Worst-case memory: that.
pub const PURPOSE_BYTES_MAX: usize = 64;

/// Most memory that sealed bytes may ask for to make a key of a passphrase, in KiB.
///
/// 262,144 (256 MiB): four times what we write, for later versions. Worst-case memory: that, while it is made.
pub const KDF_MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Most passes over that memory.
///
/// 10: with all the memory about 3 s; we write 3. No memory.
pub const KDF_PASSES_MAX: u32 = 10;

/// Most lanes of that memory.
///
/// 4: RFC 9106, section 4; we write 1 and use one thread for any. No memory.
pub const KDF_LANES_MAX: u32 = 4;

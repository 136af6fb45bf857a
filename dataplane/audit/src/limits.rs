//! The named limits of this room.

/// Bytes of one text of a record, after escaping; longer ones are cut and say so. Default 1,024: a path that does not
/// fit is not read by people anyway, and its request is refused or forwarded whatever its record says.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Bytes of one line with its line feed. Default 32 KiB: eight texts of [`TEXT_BYTES_MAX`], each byte doubled by JSON,
/// with room for the rest. Nothing longer was ever written, so a verifier refuses it unread; that is also the memory it
/// needs.
pub const LINE_BYTES_MAX: usize = 32 * 1024;

const _: () = assert!(8 * 2 * (TEXT_BYTES_MAX + 64) + 2048 < LINE_BYTES_MAX);

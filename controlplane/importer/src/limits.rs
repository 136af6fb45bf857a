//! The named limits of this room: how large a document may be, and how much is told of it.

/// Bytes of a document. Default 16 MiB: an export of 50,000 resources has about 10 MB. Worst case while it is read:
/// the text, and [`JSON_VALUES_MAX`] values of it.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Values and members of a document. Default 1,000,000: 100,000 resources with ten members each. Worst case
/// 1,000,000 x 56 bytes = 56 MB and the texts, themselves bounded by [`DOCUMENT_BYTES_MAX`].
pub const JSON_VALUES_MAX: usize = 1_000_000;

/// Findings listed for one document; further ones are counted. Default 10,000: one for each resource of a large
/// landscape. Worst case 10,000 x (3 x [`QUOTED_BYTES_MAX`] + 500 bytes), about 13 MB.
pub const FINDINGS_MAX: usize = 10_000;

/// Bytes of a document's own text repeated in a finding or an error; longer ones are cut. Default 256: a path as people
/// write it fits.
pub const QUOTED_BYTES_MAX: usize = 256;

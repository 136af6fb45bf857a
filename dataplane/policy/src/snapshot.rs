//! A rule set as it is in force: compiled, versioned, hashed, immutable.
//!
//! Who pushes, persists and swaps snapshots lives elsewhere; so does who may.
use core::fmt::{self, Write};
use std::sync::Arc;

use ring::digest;

use crate::denial::Denial;
use crate::parse::parse;
use crate::permit::Permit;
use crate::problem::Problems;
use crate::request::Request;
use crate::table::Table;

/// A versioned, immutable rule set and its compiled form.
pub struct Snapshot {
    version: u64,
    hash: [u8; 32],
    text: String,
    table: Table,
}

impl fmt::Debug for Snapshot {
    /// Says which it is; its rules may be millions and name internal hosts, so they are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .field("hash", &self.hash_hex())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Reads and compiles `text`.
    ///
    /// # Errors
    /// All that is wrong with the text; nothing is kept of it then.
    pub fn new(version: u64, text: String) -> Result<Arc<Self>, Problems> {
        Self::from_file("rules", version, text)
    }

    /// Like [`Snapshot::new`], with the name of the file for messages.
    ///
    /// # Errors
    /// All that is wrong with the text; nothing is kept of it then.
    pub fn from_file(file: &str, version: u64, text: String) -> Result<Arc<Self>, Problems> {
        // Reading has checked what two rules may not say together.
        let table = Table::build(parse(file, &text)?);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Ok(Arc::new(Self {
            version,
            hash,
            text,
            table,
        }))
    }

    /// The version. Who takes snapshots in refuses older ones.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The SHA-256 of the text, byte for byte.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The SHA-256 of the text as 64 hexadecimal digits, as `sha256sum` prints it.
    #[must_use]
    pub fn hash_hex(&self) -> String {
        self.hash.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
            hex
        })
    }

    /// The text it was made from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The compiled rules.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Decides.
    ///
    /// # Errors
    /// [`Denial`] when no rule grants the request.
    pub fn decide(self: &Arc<Self>, request: &Request<'_>) -> Result<Permit, Denial> {
        let decided = self.table.decide(request)?.decided();
        Ok(Permit::new(Arc::clone(self), decided))
    }
}

//! Who comes by certificate: the authority of people's certificates, and where in them the name stands.
//!
//! The file is read when the server starts; what users may do is in the register, not here.

use std::path::{Path, PathBuf};

use adit_people::certificate::NameField;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PeoplePart {
    certificates: Option<CertificatesPart>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificatesPart {
    ca_file: PathBuf,
    #[serde(default)]
    name: NameField,
}

pub(super) fn read(part: PeoplePart, folder: &Path) -> Option<(PathBuf, NameField)> {
    let CertificatesPart { ca_file, name } = part.certificates?;
    Some((folder.join(ca_file), name))
}

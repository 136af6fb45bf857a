//! A folder of rules, as a repository keeps them: `SUBACCOUNT/LOCATION.toml`, and `SUBACCOUNT/_default.toml` for the
//! default location.
//!
//! Files beside the subaccounts' folders, names that begin with a dot and `*.md` are somebody else's; any other name
//! is a mistake, for a file that is silently passed over is a change that silently does not happen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::held::Place;
use crate::ending::Failure;

/// The file name, without `.toml`, of the default location's rules.
const DEFAULT: &str = "_default";

/// The places that a folder has rules for, and their files; of one subaccount only, if one is given.
pub(super) fn places(folder: &Path, only: Option<&str>) -> Result<Vec<(Place, PathBuf)>, Failure> {
    let mut places = Vec::new();
    for (name, path) in entries(folder)? {
        if !path.is_dir() || only.is_some_and(|only| only != name) {
            continue;
        }
        for (file, path) in entries(&path)? {
            let wrong = || {
                Failure::config(format!(
                    "{}: is no file of rules; those are SUBACCOUNT/LOCATION.toml, and SUBACCOUNT/{DEFAULT}.toml for the \
                     default location",
                    path.display()
                ))
            };
            if file.ends_with(".md") {
                continue;
            }
            let location = file.strip_suffix(".toml").filter(|name| !name.is_empty());
            let location = location.filter(|_| path.is_file()).ok_or_else(wrong)?;
            let location = if location == DEFAULT { "" } else { location };
            let place = Place::new(&name, location)
                .map_err(|failure| Failure::config(format!("{}: {failure}", path.display())))?;
            places.push((place, path));
        }
    }
    if places.is_empty() {
        return Err(Failure::config(format!(
            "{}: holds no rules{}; they are expected in SUBACCOUNT/LOCATION.toml",
            folder.display(),
            only.map_or_else(String::new, |only| format!(" of subaccount {only}"))
        )));
    }
    places.sort();
    Ok(places)
}

/// The subaccounts of places.
pub(super) fn subaccounts(places: &[(Place, PathBuf)]) -> BTreeSet<&str> {
    places.iter().map(|(place, _)| place.subaccount()).collect()
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let wrong = |error: std::io::Error| Failure::config(format!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default().to_str();
        let name = name
            .ok_or_else(|| Failure::config(format!("{}: its name is not UTF-8", path.display())))?;
        if !name.starts_with('.') {
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    fn names(dir: &tempfile::TempDir, only: Option<&str>) -> Result<Vec<String>, Failure> {
        let places = places(dir.path(), only)?;
        Ok(places.iter().map(|(place, _)| place.to_string()).collect())
    }

    #[test]
    fn each_file_is_a_place_and_the_rest_of_a_repository_is_passed_over() {
        let dir = folder(&[
            "acme/_default.toml",
            "acme/plant-1.toml",
            "acme/README.md",
            "acme/.swp",
            "globex/_default.toml",
            "Makefile",
            ".git/config",
        ]);
        assert_eq!(
            names(&dir, None).unwrap(),
            ["acme/", "acme/plant-1", "globex/"]
        );
        assert_eq!(names(&dir, Some("globex")).unwrap(), ["globex/"]);
        assert!(names(&dir, Some("initech")).is_err());
    }

    #[test]
    fn a_file_that_would_be_passed_over_in_silence_is_a_mistake() {
        for file in [
            "acme/plant-1.tml",
            "acme/.toml/x",
            "acme/plant/1.toml",
            "a b/x.toml",
        ] {
            let dir = folder(&["acme/_default.toml", file]);
            let failed = names(&dir, None);
            assert_eq!(failed.is_err(), file != "acme/.toml/x", "{file}");
        }
        assert!(names(&folder(&["README"]), None).is_err());
    }
}

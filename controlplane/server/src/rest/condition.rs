//! ETags: what was read is named by who changes it (RFC 9110, section 13).

use adit_store::Revision;
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts as Head;

use crate::book::Base;
use crate::trouble::Trouble;

/// The ETag of a revision.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    // Digits and quotes are always a field's value.
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// What the writer had read. There is no way to write without it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition(pub(crate) Base);

impl Condition {
    /// The revision that was read.
    ///
    /// # Errors
    /// It was said that there is nothing.
    pub(crate) fn revision(self) -> Result<Revision, Trouble> {
        match self.0 {
            Base::Revision(revision) => Ok(revision),
            Base::Nothing => Err(Trouble::Stale(
                "it is there; read it and name its ETag in If-Match".to_owned(),
            )),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = Trouble;

    async fn from_request_parts(head: &mut Head, _state: &S) -> Result<Self, Trouble> {
        let field = |name| {
            head.headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::trim)
        };
        match (field(IF_MATCH), field(IF_NONE_MATCH)) {
            (Some(tag), None) => {
                let number = tag
                    .strip_prefix('"')
                    .and_then(|tag| tag.strip_suffix('"'))
                    .and_then(|tag| tag.parse().ok());
                // An ETag that is not ours was never given out, so it names nothing that is there.
                let number = number.ok_or_else(|| {
                    Trouble::Stale(format!("{tag} is no ETag of this control plane"))
                })?;
                Ok(Self(Base::Revision(Revision::new(number))))
            }
            (None, Some("*")) => Ok(Self(Base::Nothing)),
            (None, None) => Err(Trouble::ConditionMissing),
            _ => Err(Trouble::Invalid(
                "send If-Match with one ETag, or If-None-Match: *".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(fields: &[(&str, &str)]) -> Result<Base, Trouble> {
        let mut request = axum::http::Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let read = Condition::from_request_parts(&mut head, &()).await;
        read.map(|condition| condition.0)
    }

    #[tokio::test]
    async fn nothing_is_written_without_a_word_of_what_was_read() {
        let base = Base::Revision(Revision::new(7));
        assert_eq!(read(&[("if-match", "\"7\"")]).await.unwrap(), base);
        assert_eq!(
            read(&[("if-none-match", "*")]).await.unwrap(),
            Base::Nothing
        );
        let none = read(&[]).await;
        assert!(matches!(none, Err(Trouble::ConditionMissing)), "{none:?}");
        for tag in [
            "7",
            "*",
            "W/\"7\"",
            "\"\"",
            "\"-7\"",
            "\"7\", \"8\"",
            "\"99999999999999999999\"",
        ] {
            let other = read(&[("if-match", tag)]).await;
            assert!(matches!(other, Err(Trouble::Stale(_))), "{tag}: {other:?}");
        }
        for fields in [
            &[("if-none-match", "\"7\"")][..],
            &[("if-match", "\"7\""), ("if-none-match", "*")],
        ] {
            let both = read(fields).await;
            assert!(matches!(both, Err(Trouble::Invalid(_))), "{both:?}");
        }
        let nothing = Condition(Base::Nothing).revision();
        assert!(matches!(nothing, Err(Trouble::Stale(_))), "{nothing:?}");
    }
}

//! The classes of attack that a strict reader of HTTP/1.1 meets, each a label of the counter of refused smuggling.
//!
//! A class is a fact about bytes. Where it is found is decided in the readers; that it is counted is up to the doors.

use crate::Refusal;

macro_rules! classes {
    ($( $variant:ident = $name:literal, $refusal:ident, $text:literal; )*) => {
        /// A way of writing a message so that two readers disagree about where it ends or where it goes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(clippy::exhaustive_enums, reason = "a new class must be looked at wherever classes are told apart")]
        pub enum Smuggling {
            $( #[doc = $text] $variant, )*
        }

        impl Smuggling {
            /// Every class.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            /// What a caller is told when its request is of this class.
            #[must_use]
            pub const fn refusal(self) -> Refusal {
                match self { $( Self::$variant => Refusal::$refusal, )* }
            }

            /// What is wrong and how to mend it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }
    };
}

classes! {
    // Two lengths, or one that reads in two ways.
    ClTe = "cl-te", BodyFraming, "content-length is followed by transfer-encoding; send one of them";
    TeCl = "te-cl", BodyFraming, "transfer-encoding is followed by content-length; send one of them";
    TeDuplicate = "te-duplicate", BodyFraming, "transfer-encoding appears twice; send it once";
    TeList = "te-list", BodyFraming, "transfer-encoding is a list; send only `chunked`";
    TeParameter = "te-parameter", BodyFraming, "the transfer coding has a parameter; send only `chunked`";
    TeWhitespace = "te-whitespace", BodyFraming, "there is a tab before or whitespace after the transfer coding; send `transfer-encoding: chunked`";
    TeUnknown = "te-unknown", BodyFraming, "the transfer coding is not `chunked`; send no other";
    TeHttp10 = "te-http10", BodyFraming, "an HTTP/1.0 message has a transfer-encoding; send content-length or HTTP/1.1";
    ClDuplicate = "cl-duplicate", BodyFraming, "content-length appears twice; send it once";
    ClList = "cl-list", BodyFraming, "content-length is a list; send one number";
    ClSigned = "cl-signed", BodyFraming, "content-length has a sign; send digits only";
    ClHex = "cl-hex", BodyFraming, "content-length is hexadecimal; send decimal digits only";
    ClOverlong = "cl-overlong", BodyFraming, "content-length is larger than any body can be; send at most 19 digits";
    ClWhitespace = "cl-whitespace", BodyFraming, "there is a tab before or whitespace after content-length's digits; send digits only";
    ClSyntax = "cl-syntax", BodyFraming, "content-length is not a number; send digits only";

    // Lines that read in two ways.
    ObsFold = "obs-fold", RequestMalformed, "a field is continued on a second line; send it on one";
    SpaceBeforeColon = "space-before-colon", RequestMalformed, "there is whitespace between a field name and its colon; remove it";
    BareCr = "bare-cr", RequestMalformed, "there is a CR without LF; end lines with CRLF";
    BareLf = "bare-lf", RequestMalformed, "there is a LF without CR; end lines with CRLF";
    Nul = "nul", RequestMalformed, "there is a NUL byte; remove it";
    ControlByte = "control-byte", RequestMalformed, "there is a control byte; remove it";
    EmptyName = "empty-name", RequestMalformed, "a field has no name; give it one";
    LeadingCrlf = "leading-crlf", RequestMalformed, "there is an empty line before the start line; remove it";

    // Names that read in two ways.
    Lookalike = "lookalike", RequestMalformed, "a field name is a framing field's but for `_`; write it with `-` or not at all";
    Underscore = "underscore", RequestMalformed, "a field name contains `_`, which this node is set to refuse; use `-`";
    ConnectionNames = "connection-names", RequestMalformed, "the connection field names a field that frames or routes the message; name only hop-by-hop fields";
    HostDuplicate = "host-duplicate", HostMalformed, "host appears twice; send it once";

    // Bodies.
    ChunkSize = "chunk-size", BodyFraming, "a chunk size is not 1 to 16 hexadecimal digits followed by CRLF or `;`";
    ChunkExtension = "chunk-extension", BodyFraming, "a chunk extension holds a control byte or a bare line end; send none";
    ChunkExtensionTooLarge = "chunk-extension-too-large", BodyFraming, "the chunk extensions of one body are too large; send none";
    ChunkEnd = "chunk-end", BodyFraming, "a chunk's data is not followed by CRLF; make the sizes match the data";
    ChunkOverhead = "chunk-overhead", BodyFraming, "the body is mostly chunk framing; send larger chunks";
    TrailerMalformed = "trailer-malformed", BodyFraming, "a trailer is not a well-formed field line; mend or drop it";
    TrailerForbidden = "trailer-forbidden", BodyFraming, "a trailer names a field that must be in the head; send it there";
    TrailerTooLarge = "trailer-too-large", BodyFraming, "the trailer section is too large; send less of it";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_class_has_a_label_of_its_own() {
        assert!(Smuggling::ALL.len() > 30);
        let names: BTreeSet<&str> = Smuggling::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Smuggling::ALL.len());
        assert!(names.iter().all(|n| {
            n.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        }));
    }

    #[test]
    fn every_class_is_the_callers_fault_and_answered_with_400() {
        for class in Smuggling::ALL {
            assert_eq!(class.refusal().http_status(), 400, "{}", class.name());
        }
    }
}

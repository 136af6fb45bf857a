//! Records that only a newer version knows whole: whoever has nothing to do with them is served as ever.

use adit_store::Value;

use super::*;
use crate::test_world::put_all;

#[tokio::test]
async fn r15_a_revocation_that_cannot_be_read_counts() {
    let world = World::new(1).await;
    let strange = [
        (keys::revoked("0a"), Value::from(r#"{"until":"tomorrow"}"#)),
        (keys::revoked("0b"), Value::from("{")),
        (
            keys::revoked("0c"),
            Value::from(format!(r#"{{"until_unix_s":{}}}"#, u64::MAX)),
        ),
        (keys::revoked("0d"), Value::from(r#"{"until_unix_s":1}"#)),
    ];
    put_all(&*world.parts.store, &strange).await;
    let trust = world.parts.life.trust().await.unwrap();
    assert_eq!(trust.revoked, ["0a", "0b", "0c"]);
}

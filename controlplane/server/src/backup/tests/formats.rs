//! Stores and backups of a later format, and a server that another one has overtaken.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_server_of_an_earlier_format_writes_no_more_and_does_not_start() {
    let world = World::new(1).await;
    let (whole, old) = (&world.whole, &world.parts.generations);
    let (key, a) = (keys::generation(), Key::new("a").unwrap());
    let written = Txn::new().put(a.clone(), "as we know it");
    old.store().commit(&written).await.unwrap();

    // What knew no number wrote none, and that is the first.
    let first = Txn::new().put(key.clone(), r#"{"number":1}"#);
    let first = whole.commit(&first).await.unwrap();
    let old = Generations::open(Arc::clone(whole)).await.unwrap();
    assert_eq!((old.number, old.format, old.revision), (1, 1, first));

    let waiting = {
        let old = old.clone();
        tokio::spawn(async move { old.replaced().await })
    };
    let new = Generations::open_as(Arc::clone(whole), FORMAT + 1);
    let new = new.await.unwrap();
    assert_eq!(
        new.store().get(&a).await.unwrap().unwrap().value.as_bytes(),
        b"as we know it"
    );
    let left = Txn::new().put(Key::new("g7/left").unwrap(), "by a restore that was cut");
    whole.commit(&left).await.unwrap();
    let before = dump(whole).await;
    let told = "has records of format 2, and this version of adit knows 1; start the newer version of adit again";
    for refused in [
        old.store().commit(&written).await.unwrap_err(),
        Generations::open(Arc::clone(whole)).await.unwrap_err(),
    ] {
        assert!(matches!(refused, Error::Newer { .. }), "{refused:?}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
    // Also not by a restore, or by clearing.
    for refused in [old.swap(Vec::new()).await, old.clear_others().await] {
        assert!(
            matches!(refused, Err(Error::Conflict { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(dump(whole).await, before);
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the old server hears of it")
        .unwrap();
    // A restore keeps the number, and the newer version goes on.
    new.swap(vec![(a.clone(), b"restored".to_vec())])
        .await
        .unwrap();
    let next = Generations::open_as(Arc::clone(whole), FORMAT + 1)
        .await
        .unwrap();
    assert_eq!((next.number, next.format), (2, FORMAT + 1));
    next.store().commit(&written).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_backup_of_a_later_format_is_refused_by_its_number_and_changes_nothing() {
    let world = lived().await;
    let key = SealKey::passphrase(PASSWORD.to_owned());
    let content = seal::open(&backup_of(&world).await, PURPOSE, &key).unwrap();
    let text = String::from_utf8(content).unwrap();
    let ours = format!("{{\"format\":{FORMAT},");
    assert!(text.starts_with(&ours));
    let later = text.replacen(
        &ours,
        &format!("{{\"format\":{},\"later\":1,", FORMAT + 1),
        1,
    );
    let sealed = seal::seal(later.as_bytes(), PURPOSE, &key).unwrap();
    let before = dump(&world.whole).await;
    match put_back(&world, &sealed, PASSWORD).await {
        Err(Trouble::Invalid(why)) => assert!(
            why.contains("has records of format 2, and this version of adit knows 1")
                && why.contains("adit 0."),
            "{why}"
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(dump(&world.whole).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_restore_writes_no_record_anew_that_only_a_newer_version_knows() {
    let world = lived().await;
    let key = SealKey::passphrase(PASSWORD.to_owned());
    let content = seal::open(&backup_of(&world).await, PURPOSE, &key).unwrap();
    let before = dump(&world.whole).await;
    for rewritten in [keys::trust(), keys::life(), keys::head(&place("plant-1"))] {
        let mut lines = Vec::new();
        for line in String::from_utf8(content.clone()).unwrap().lines() {
            let entry = serde_json::from_str::<(String, String)>(line);
            lines.push(match entry {
                Ok((key, value)) if key == rewritten.as_str() => {
                    let mut record: serde_json::Value =
                        serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap();
                    record["later"] = 1.into();
                    let value = STANDARD.encode(record.to_string());
                    serde_json::to_string(&(key, value)).unwrap()
                }
                _ => line.to_owned(),
            });
        }
        let sealed = seal::seal(lines.join("\n").as_bytes(), PURPOSE, &key).unwrap();
        let refused = put_back(&world, &sealed, PASSWORD).await;
        let newer = matches!(refused, Err(Trouble::Store(Error::Newer { .. })));
        assert!(newer, "{rewritten}: {refused:?}");
        assert_eq!(dump(&world.whole).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_any_more_into_what_a_restore_has_replaced() {
    let world = lived().await;
    let backup = backup_of(&world).await;
    put_back(&world, &backup, PASSWORD).await.unwrap();
    let late = Txn::new().put(Key::new("late").unwrap(), "acknowledged and lost");
    let refused = world.parts.store.commit(&late).await;
    let told =
        matches!(&refused, Err(Error::Unavailable { why, .. }) if why.contains("starts again"));
    assert!(told, "{refused:?}");
    let now = started_again(&world).await;
    now.parts.store.commit(&late).await.unwrap();
}

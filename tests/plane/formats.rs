//! A store whose records are of a later format than a server knows, as a newer version leaves it.

use adit_store::{Embedded, Etcd, EtcdOptions, Key, Store, Txn};
use adit_tests::member::Member;
use adit_tests::plane::{Memory, Plane, rules_number};
use adit_tests::wait::SOON;

use crate::cluster::history;
use crate::on_both_memories;

/// Says in the store that its records are of this format, as the version that wrote them says it.
fn raise(plane: &Plane, memory: &Memory, format: u16) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store: Box<dyn Store> = match memory {
            Memory::Etcd(etcd) => {
                Box::new(Etcd::new(&EtcdOptions::new([etcd.endpoint()])).unwrap())
            }
            Memory::Embedded | _ => Box::new(Embedded::open(&plane.state("store")).await.unwrap()),
        };
        let key = Key::new("generation/number").unwrap();
        let found = store.get(&key).await.unwrap().unwrap();
        let said: serde_json::Value = serde_json::from_slice(found.value.as_bytes()).unwrap();
        let text = format!("{{\"number\":{},\"format\":{format}}}", said["number"]);
        let txn = Txn::new().at(key.clone(), found.revision).put(key, text);
        store.commit(&txn).await.unwrap();
    });
}

fn says_both_numbers(log: &str) {
    let told = "has records of format 2, and this version of adit knows 1; start the newer version of adit again, or \
                restore a backup that this version made";
    assert!(log.contains(told), "{log}");
}

on_both_memories! {
    //
    fn r15_a_server_that_finds_a_later_format_says_both_numbers_and_leaves_all_as_it_is(memory: &Memory) {
        let (mut plane, root) = Plane::ready("cp-1", memory, "");
        assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
        let (before, acts) = (history(&root), root.chain());
        match memory {
            Memory::Etcd(_) => {
                // Under its eyes: it writes nothing more, and ends.
                let etag = root.rules("acme").etag();
                raise(&plane, memory, 2);
                let path = "/api/v1/subaccounts/acme/rules";
                let fields = [("content-type", "application/toml"), ("if-match", etag.as_str())];
                if let Ok(late) = root.try_ask("PUT", path, &fields, rules_number(2).as_bytes()) {
                    assert!(late.status >= 400, "{late:?}");
                }
                let status = plane.process().wait(SOON);
                assert!(!status.success(), "{status}");
                says_both_numbers(&plane.log());
            }
            Memory::Embedded | _ => {
                plane.process().kill();
                raise(&plane, memory, 2);
            }
        }
        says_both_numbers(&plane.fails_to_start());
        says_both_numbers(&plane.fails_to_start());

        // What was there is there, for whoever knows it.
        raise(&plane, memory, 1);
        plane.restart();
        assert_eq!(history(&root), before);
        assert!(root.chain().starts_with(&acts));
        assert_eq!(root.apply("acme", "", &rules_number(2)).status, 200);
        let member = Member::enrol(&plane, &root.invite("acme", "a-1")).unwrap();
        assert_eq!(member.subscribe(&plane).unwrap().push().version(), 2);
    }
}

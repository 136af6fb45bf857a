//! Goes to the borders of what callers may send and ask for.
//! Each path by itself is gone through by tests with real processes.

use adit_api::limits::{
    BODY_BYTES_MAX, MESSAGE_BYTES_MAX, OPEN_BODY_BYTES_MAX, PAGE_ITEMS_MAX, RULES_BYTES_MAX,
};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::nodes::asked::READERS;
use super::*;
use crate::keys;
use crate::limits::TRAFFIC_READERS_MAX;
use crate::test_world::{put_all, world};

/// An administrator's way in.
struct Desk {
    _folder: tempfile::TempDir,
    routes: TowerToHyperService<Router>,
    parts: Arc<Parts>,
    token: String,
}

impl Desk {
    async fn open() -> Self {
        let (folder, parts) = world().await;
        let token = parts.members.setup_token("cp-1").await.unwrap().unwrap();
        let first = adit_api::Setup {
            token,
            user: "ada".to_owned(),
            password: "correct horse battery".to_owned(),
        };
        let source = std::net::IpAddr::from([127, 0, 0, 1]);
        let token = parts.members.set_up(first, source, "").await.unwrap().token;
        Self {
            _folder: folder,
            routes: TowerToHyperService::new(routes(Arc::clone(&parts))),
            parts,
            token,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, String) {
        let (status, _, body) = self.answer(method, path, body).await;
        (status, body)
    }

    /// Status, media type, body.
    async fn answer(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (u16, String, String) {
        let connection = crate::door::Connection {
            source: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
            shown: crate::door::Shown::Nothing,
        };
        let kind = match method {
            "PUT" => adit_api::RULES_TYPE,
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("if-none-match", "*")
            .header(CONTENT_TYPE, kind)
            .extension(connection)
            .body(Body::from(body.into()))
            .unwrap();
        let answer = self.routes.call(request).await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        // A backup is no text.
        (status, kind, String::from_utf8_lossy(&body).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_page_items_max_may_be_asked_for_and_one_more_may_not() {
    let desk = Desk::open().await;
    for path in [
        "/api/v1/users",
        "/api/v1/tokens",
        "/api/v1/acts",
        "/api/v1/rules",
        "/api/v1/subaccounts/acme/rules/versions",
    ] {
        let mut answers = Vec::new();
        for limit in [1, PAGE_ITEMS_MAX, 0, PAGE_ITEMS_MAX + 1] {
            let path = format!("{path}?limit={limit}");
            answers.push(desk.ask("GET", &path, "").await.0);
        }
        assert_eq!(answers, [200, 200, 400, 400], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_message_bytes_max_goes_with_a_change_and_one_more_byte_does_not() {
    let desk = Desk::open().await;
    let put = async |bytes: usize| {
        let message = "m".repeat(bytes);
        let path = format!("/api/v1/subaccounts/acme/rules?message={message}");
        desk.ask("PUT", &path, "").await
    };
    let (status, why) = put(MESSAGE_BYTES_MAX + 1).await;
    assert_eq!(status, 400, "{why}");
    assert!(why.contains("message: at most"), "{why}");
    let (status, why) = put(MESSAGE_BYTES_MAX).await;
    assert_eq!(status, 200, "{why}");
    let (_, versions) = desk
        .ask("GET", "/api/v1/subaccounts/acme/rules/versions", "")
        .await;
    assert!(versions.contains(&"m".repeat(MESSAGE_BYTES_MAX)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_rules_bytes_max_are_read_and_one_more_byte_is_too_large() {
    let desk = Desk::open().await;
    let put = async |bytes: usize| {
        // Not even UTF-8: whether they are read is what is asked here.
        let rules = vec![0xFF; bytes];
        desk.ask("PUT", "/api/v1/subaccounts/acme/rules", rules)
            .await
    };
    let (status, why) = put(RULES_BYTES_MAX + 1).await;
    assert_eq!(status, 413, "{why}");
    let (status, why) = put(RULES_BYTES_MAX).await;
    assert_eq!(status, 400, "{why}");
    assert!(why.contains("not UTF-8"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_body_bytes_max_is_read_of_strangers_open_body_bytes_max_and_one_more_byte_is_too_large()
 {
    let desk = Desk::open().await;
    for (path, wish, most, done) in [
        (
            "/api/v1/tokens",
            r#"{"label":"ci","days":1}"#,
            BODY_BYTES_MAX,
            201,
        ),
        (
            "/api/v1/logins",
            r#"{"user":"nobody","password":"wrong"}"#,
            OPEN_BODY_BYTES_MAX,
            401,
        ),
    ] {
        let mut answers = Vec::new();
        for bytes in [most, most + 1] {
            // Blanks behind it mean nothing.
            let blanks = " ".repeat(bytes - wish.len());
            answers.push(desk.ask("POST", path, format!("{wish}{blanks}")).await.0);
        }
        assert_eq!(answers, [done, 413], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_name_is_a_problem_of_the_callers_at_every_path() {
    let desk = Desk::open().await;
    let (_, document) = described();
    let document: serde_json::Value = serde_json::to_value(document).unwrap();
    let long = "n".repeat(300);
    let odd = [
        "%2e", "%2e%2e", "%2f", "%00", &long, "", "%ff", "%20", "a%2fb",
    ];
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if item.get("get").is_none() || !path.contains('{') {
            continue;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let places: Vec<usize> = (0..parts.len())
            .filter(|at| parts[*at].starts_with('{'))
            .collect();
        for text in odd {
            // Each name by itself beside good ones, and all of them.
            let alone = places.iter().map(|place| vec![*place]);
            for strange in alone.chain([places.clone()]) {
                let filled: Vec<&str> = (0..parts.len())
                    .map(|at| match parts[at] {
                        _ if strange.contains(&at) => text,
                        "{version}" => "1",
                        "{request}" => "00ff",
                        name if name.starts_with('{') => "acme",
                        plain => plain,
                    })
                    .collect();
                let path = filled.join("/");
                let (status, kind, body) = desk.answer("GET", &path, "").await;
                assert!((400..500).contains(&status), "{path}: {status} {body}");
                assert_eq!(kind, adit_api::PROBLEM_TYPE, "{path}: {body}");
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "{asked}");
    // As bodies and queries have them.
    for (method, path, body) in [
        ("GET", "/api/v1/users?after=users/..", String::new()),
        (
            "GET",
            "/api/v1/subaccounts/acme/rules?location=%2e%2e%2fx",
            String::new(),
        ),
        (
            "POST",
            "/api/v1/users",
            format!(r#"{{"name":"..","password":"{long}","grants":[]}}"#),
        ),
        (
            "POST",
            "/api/v1/subaccounts/acme/invitations",
            r#"{"name":"..","location":""}"#.to_owned(),
        ),
    ] {
        let (status, kind, body) = desk.answer(method, path, body).await;
        assert!((400..500).contains(&status), "{path}: {status} {body}");
        assert_eq!(kind, adit_api::PROBLEM_TYPE, "{path}: {body}");
    }
    assert_eq!(desk.ask("GET", "/api/v1/whoami", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_wait_to_be_compiled_still_take_their_room() {
    let desk = Desk::open().await;
    let compilers = u32::try_from(crate::limits::COMPILERS_MAX).unwrap();
    let turns = desk.parts.book.compilers().acquire_many(compilers).await;
    let rules = vec![b'#'; 4 * 1024 * 1024];
    let mut put = std::pin::pin!(desk.ask("PUT", "/api/v1/subaccounts/acme/rules", rules));
    let moment = std::time::Duration::from_millis(200);
    let early = tokio::time::timeout(moment, put.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    assert!(wire::bytes_held() >= 4 * 1024 * 1024);
    drop(turns);
    assert_eq!(put.await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_people_ask_for_recorded_decisions_at_once_and_one_more_comes_back() {
    let desk = Desk::open().await;
    let path = "/api/v1/subaccounts/acme/traffic";
    let others = u32::try_from(TRAFFIC_READERS_MAX - 1).unwrap();
    let _others = READERS.try_acquire_many(others).unwrap();
    assert_eq!(desk.ask("GET", path, "").await.0, 200);
    let last = READERS.try_acquire().unwrap();
    let (status, why) = desk.ask("GET", path, "").await;
    assert_eq!(status, 503, "{why}");
    drop(last);
    assert_eq!(desk.ask("GET", path, "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_another_epoch_are_not_those_that_an_agent_shall_have() {
    let desk = Desk::open().await;
    let put = desk
        .ask("PUT", "/api/v1/subaccounts/acme/rules", "# 1\n")
        .await;
    assert_eq!(put.0, 200, "{}", put.1);
    let id = crate::place::NodeId::agent("acme", "a-1").unwrap();
    let enrolment = crate::register::Enrolment {
        location: String::new(),
        enrolled_unix_s: 0,
        certificates: Vec::new(),
        revoked: false,
    };
    let epoch = desk.parts.life.epoch();
    for (of, state) in [
        (Some(epoch), "in-force"),
        (Some(epoch + 1), "pending"),
        (None, "pending"),
    ] {
        let live = crate::hub::Live {
            server: "cp-2".to_owned(),
            subscription: String::new(),
            instance: String::new(),
            since_unix_s: 0,
            software: String::new(),
            running: Some(adit_api::Running {
                epoch: of,
                version: 1,
                sha256: String::new(),
            }),
            refused: None,
            not_ready: Vec::new(),
            problems: Vec::new(),
            tunnels: 0,
            streams: 0,
        };
        let records = [
            (keys::node(&id), keys::write(&enrolment)),
            (keys::live(&id), keys::write(&live)),
        ];
        put_all(&*desk.parts.store, &records).await;
        let path = "/api/v1/subaccounts/acme/rules/rollout";
        let (status, told) = desk.ask("GET", path, "").await;
        assert_eq!(status, 200, "{told}");
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["agents"][0]["state"], state, "{of:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_sealed_with_a_password_of_twelve_bytes_and_not_with_a_shorter_one() {
    let desk = Desk::open().await;
    for (password, status) in [("eleven-byte", 400), ("twelve-bytes", 200)] {
        let body = format!("{{\"password\":\"{password}\"}}");
        let (said, _, _) = desk.answer("POST", "/api/v1/backup", body).await;
        assert_eq!(said, status, "{password}");
    }
}

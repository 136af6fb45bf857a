//! Questions to all nodes at once: what they know of a request, and what they have recorded.
//!
//! A node that does not answer, or not what can be understood, keeps nobody from hearing the others.

use std::sync::Arc;
use std::time::Duration;

use adit_api::limits::TRAFFIC_DAYS_MAX;
use adit_api::{
    Traffic, TrafficAgent, TrafficLevel, TrafficRequest, TrafficRule, TrafficSilent, Why, WhyPart,
};
use adit_audit::{Cursor, Level, Tally};
use adit_people::{Verb, Visible, visible};
use axum::Json;
use axum::extract::State;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{Of, agent_id, asking, value};
use crate::clock;
use crate::hub::Hub;
use crate::keys;
use crate::limits::{
    ASKED_NODES_MAX, TRAFFIC_ASKED_MAX, TRAFFIC_BYTES_MAX, TRAFFIC_LIMIT, TRAFFIC_READERS_MAX,
    TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX, WHY_ANSWER_BYTES_MAX, WHY_BYTES_MAX,
};
use crate::place::{NodeId, Place};
use crate::rest::caller::Caller;
use crate::rest::wire::{Asked, Named, Refusals};
use crate::trouble::Trouble;

/// What the nodes know of a request, by the id that its caller got.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/why/{request}", tag = "nodes", security(("bearer" = [])),
    params(("subaccount" = String, Path), ("request" = String, Path)), responses((status = 200, body = Why), Refusals))]
pub(super) async fn why(
    State(parts): Of,
    caller: Caller,
    Named((subaccount, request)): Named<(String, String)>,
) -> Result<Json<Why>, Trouble> {
    caller.may(Verb::NodesAsk, &subaccount)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if request.is_empty() || request.len() > REQUEST_ID_BYTES_MAX || !request.bytes().all(plain) {
        return Err(Trouble::Invalid(
            "an id is letters, digits and dashes, as `adit-refusal` gives it".to_owned(),
        ));
    }
    let live = parts
        .hub
        .connections(&keys::live_agents_of(&subaccount))
        .await?;
    let mut ids: Vec<NodeId> = live.into_keys().collect();
    let gateways = parts.hub.connections(&keys::live_gateways()).await?;
    ids.extend(gateways.into_keys());
    let unasked = at_most(&mut ids);
    let sees_all = visible(caller.principal(), Verb::NodesAsk) == Visible::All;
    let of = (!sees_all).then_some(subaccount.as_str());
    let mut found = known(&parts.hub, ids, &request, of).await?;
    found.unasked = unasked;
    if found.parts.is_empty() && found.silent.is_empty() {
        return Err(Trouble::NotFound(format!(
            "none of {} nodes knows of request {request}; they keep the last ones only",
            found.asked
        )));
    }
    Ok(Json(found))
}

/// What these nodes know of a request. Gateways carry requests of all subaccounts: who may not hear of all is told what
/// they know of a caller `of` one.
async fn known(
    hub: &Arc<Hub>,
    ids: Vec<NodeId>,
    request: &str,
    of: Option<&str>,
) -> Result<Why, Trouble> {
    let mut found = Why {
        parts: Vec::new(),
        asked: number(ids.len()),
        unasked: 0,
        silent: Vec::new(),
    };
    let mut asking_all = JoinSet::new();
    for id in ids {
        let (hub, query) = (Arc::clone(hub), format!("id={request}"));
        asking_all.spawn(async move {
            let mut ask = asking("GET", "/why", String::new());
            ask.query = query;
            let answer = hub.ask(&id, ask).await.ok();
            // What is too long is not held until the others have answered.
            let held = answer.filter(|answer| answer.body.len() <= WHY_ANSWER_BYTES_MAX);
            (id, held)
        });
    }
    let mut room = WHY_BYTES_MAX;
    while let Some(joined) = asking_all.join_next().await {
        let (id, answer) = joined.map_err(|error| Trouble::Internal(error.to_string()))?;
        if answer.as_ref().is_some_and(|answer| answer.status == 404) {
            continue;
        }
        let told = answer.and_then(|answer| {
            room = room.checked_sub(answer.body.len())?;
            value(answer).ok()
        });
        let Some(answer) = told else {
            found.silent.push(id.to_string());
            continue;
        };
        let is_theirs = |of| answer.get("subaccount").is_some_and(|name| name == of);
        if id.subaccount().is_some() || of.is_none_or(is_theirs) {
            let node = id.to_string();
            found.parts.push(WhyPart { node, answer });
        }
    }
    found.parts.sort_by(|one, other| one.node.cmp(&other.node));
    found.silent.sort();
    Ok(found)
}

/// Which recorded decisions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// Of the last so many days.
    #[param(minimum = 1, maximum = 366, default = 7)]
    days: Option<u64>,
    /// Of the agents of this location; absent or empty is the default one.
    #[serde(default)]
    #[param(required = false)]
    location: String,
}

/// What the agents of a location have recorded: who asked for what, how often, and what was decided. They are asked
/// themselves; what those recorded that do not answer is missing.
#[utoipa::path(get, path = "/api/v1/subaccounts/{subaccount}/traffic", tag = "nodes", security(("bearer" = [])),
    params(("subaccount" = String, Path), Period), responses((status = 200, body = Traffic), Refusals))]
pub(super) async fn traffic(
    State(parts): Of,
    caller: Caller,
    Named(subaccount): Named<String>,
    Asked(period): Asked<Period>,
) -> Result<Json<Traffic>, Trouble> {
    caller.may(Verb::RulesPlan, &subaccount)?;
    let days = period.days.unwrap_or(DAYS);
    if !(1..=TRAFFIC_DAYS_MAX).contains(&days) {
        return Err(Trouble::Invalid(format!("days: 1 to {TRAFFIC_DAYS_MAX}")));
    }
    let place = Place::new(&subaccount, &period.location).map_err(Trouble::Invalid)?;
    let _room = READERS.try_acquire().map_err(|_none_left| Trouble::Busy)?;
    let since_unix_s = clock::unix_s().saturating_sub(days * 24 * 3600);
    let mut names = parts.register.agents_at(&place).await?;
    let unasked = at_most(&mut names);
    let question = Arc::new(Question::new(Arc::clone(&parts.hub), since_unix_s));
    let (mut agents, mut silent) = (Vec::new(), Vec::new());
    let mut asking_all = JoinSet::new();
    for name in names {
        let id = agent_id(&subaccount, &name)?;
        let question = Arc::clone(&question);
        asking_all.spawn(async move { question.ask(id).await.map_err(|why| (name, why)) });
    }
    while let Some(joined) = asking_all.join_next().await {
        match joined.map_err(|error| Trouble::Internal(error.to_string()))? {
            Ok(agent) => agents.push(agent),
            Err((name, why)) => silent.push(TrafficSilent { name, why }),
        }
    }
    agents.sort_by(|one, other| one.name.cmp(&other.name));
    silent.sort_by(|one, other| one.name.cmp(&other.name));
    let told = question.told();
    Ok(Json(Traffic {
        since_unix_s,
        agents,
        silent,
        unasked,
        requests: told.requests.into_iter().map(request).collect(),
        rules: told.rules.into_iter().map(rule).collect(),
        more_granted: told.more_granted,
        more_denied: told.more_denied,
    }))
}

/// What is asked of each agent, and what they have said so far.
struct Question {
    hub: Arc<Hub>,
    since_unix_ms: u64,
    until: Instant,
    turns: Semaphore,
    tally: Mutex<Tally>,
}

impl Question {
    fn new(hub: Arc<Hub>, since_unix_s: u64) -> Self {
        Self {
            hub,
            since_unix_ms: since_unix_s.saturating_mul(1000),
            until: Instant::now() + TRAFFIC_LIMIT,
            turns: Semaphore::new(TRAFFIC_ASKED_MAX),
            tally: Mutex::new(Tally::new(TRAFFIC_REQUESTS_MAX, TRAFFIC_RULES_MAX)),
        }
    }

    /// Asks an agent for one part after the other. Why it has told nothing, if so.
    async fn ask(&self, id: NodeId) -> Result<TrafficAgent, String> {
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let mut agent: Option<TrafficAgent> = None;
        let mut after = None;
        loop {
            let part = match self.part(&id, after).await {
                Ok(part) => part,
                // What it has told before stays, and that there is more is told.
                Err(why) => return agent.ok_or(why),
            };
            let agent = agent.get_or_insert_with(|| TrafficAgent {
                name: id.name().to_owned(),
                level: level(part.level),
                first_unix_ms: part.first_unix_ms,
                complete: false,
                lost: 0,
                unreadable: 0,
            });
            agent.lost = agent.lost.saturating_add(part.lost);
            agent.unreadable = agent.unreadable.saturating_add(part.unreadable);
            let has_more = part.next.is_some();
            let mut tally = self.tally.lock();
            part.requests.into_iter().for_each(|seen| tally.seen(seen));
            part.rules.into_iter().for_each(|seen| tally.rule(seen));
            tally.more(part.more_granted, part.more_denied);
            drop(tally);
            after = part.next.and_then(|next| next.parse::<Cursor>().ok());
            if after.is_none() {
                agent.complete = !has_more;
                return Ok(agent.clone());
            }
        }
    }

    /// What all have told, within what an answer may be.
    fn told(&self) -> adit_audit::Traffic {
        let tally = core::mem::replace(&mut *self.tally.lock(), Tally::new(0, 0));
        tally.finish(Level::All, TRAFFIC_BYTES_MAX)
    }

    async fn part(
        &self,
        id: &NodeId,
        after: Option<Cursor>,
    ) -> Result<adit_audit::Traffic, String> {
        loop {
            if Instant::now() >= self.until {
                return Err("there was no time left to ask it".to_owned());
            }
            let mut ask = asking("GET", "/traffic", String::new());
            ask.query = format!("since_ms={}", self.since_unix_ms);
            if let Some(after) = after {
                ask.query.push_str(&format!("&after={after}"));
            }
            let answer = match self.hub.ask(id, ask).await {
                Ok(answer) => answer,
                // It begins with the agent's name, which stands beside it already.
                Err(Trouble::NodeSilent(why)) => {
                    let why = why.split_once(' ').map_or(why.as_str(), |(_, why)| why);
                    return Err(why.to_owned());
                }
                Err(_) => return Err("could not be asked".to_owned()),
            };
            match answer.status {
                200 => {
                    return adit_audit::Traffic::read(answer.body.as_bytes())
                        .map_err(|why| format!("its answer {why}"));
                }
                // It reads its records for somebody else at the moment.
                503 => tokio::time::sleep(BUSY_PAUSE).await,
                status => {
                    let first = answer.body.lines().next().unwrap_or_default();
                    let first: String = first.chars().take(200).collect();
                    return Err(format!("says {status}: {first}"));
                }
            }
        }
    }
}

/// Keeps as many as are asked, in their order; how many are left out.
fn at_most<T: Ord>(nodes: &mut Vec<T>) -> u64 {
    nodes.sort();
    let unasked = nodes.len().saturating_sub(ASKED_NODES_MAX);
    nodes.truncate(ASKED_NODES_MAX);
    number(unasked)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn level(level: Level) -> TrafficLevel {
    match level {
        Level::Off => TrafficLevel::Off,
        Level::Denied => TrafficLevel::Denied,
        Level::All => TrafficLevel::All,
    }
}

fn request(seen: adit_audit::Seen) -> TrafficRequest {
    let asked = seen.asked;
    TrafficRequest {
        caller: asked.caller,
        system: asked.system,
        method: asked.method,
        path: asked.path,
        upgrade: asked.upgrade,
        granted: asked.granted,
        ground: asked.ground,
        count: seen.count,
        last_unix_ms: seen.last_unix_ms,
    }
}

fn rule(seen: adit_audit::SeenRule) -> TrafficRule {
    TrafficRule {
        system: seen.system,
        method: seen.method,
        rule: seen.rule,
        count: seen.count,
    }
}

/// Bytes of a request's id: 32 hexadecimal digits, and room for another form.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Days, where none are given.
const DAYS: u64 = 7;
/// Between two tries to ask an agent that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// Who asks for recorded decisions at this moment.
pub(in crate::rest) static READERS: Semaphore = Semaphore::const_new(TRAFFIC_READERS_MAX);

#[cfg(test)]
mod tests {
    use adit_proto::control::{Answer, Event};
    use bytes::Bytes;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::hub::Subscription;
    use crate::hub::test_world::{World, question as question_to};

    fn seen(path: usize) -> adit_audit::Seen {
        adit_audit::Seen {
            asked: adit_audit::Asked {
                caller: "shop".to_owned(),
                system: "erp.virtual:80".to_owned(),
                method: None,
                // As long as the longest that was cut.
                path: Some(format!("/{path:1000}")),
                upgrade: false,
                granted: true,
                ground: "/".to_owned(),
            },
            count: 1,
            last_unix_ms: 1,
        }
    }

    /// What a node answers to the next question.
    async fn answer(
        (subscription, events): &mut (Arc<Subscription>, mpsc::Receiver<Bytes>),
        status: u16,
        body: String,
    ) {
        let asked = question_to(events).await;
        assert!(subscription.answered(&asked.ask, Answer { status, body }));
    }

    fn of_length(bytes: usize) -> String {
        let empty = json!({"words": ""}).to_string().len();
        json!({"words": "w".repeat(bytes - empty)}).to_string()
    }

    #[tokio::test]
    async fn so_much_of_one_answer_about_a_request_and_of_all_is_held_and_no_byte_more() {
        let world = World::new(7).await;
        let count = WHY_BYTES_MAX / WHY_ANSWER_BYTES_MAX + 1;
        let mut agents = Vec::new();
        for number in 0..count {
            agents.push(world.subscribed(&format!("a-{number}")).await);
        }
        for (bytes, parts) in [
            (WHY_ANSWER_BYTES_MAX + 1, 0),
            (WHY_ANSWER_BYTES_MAX, count - 1),
            (WHY_BYTES_MAX / count, count),
        ] {
            let hub = Arc::clone(world.hub());
            let ids = agents.iter().map(|(agent, _)| agent.node.clone()).collect();
            let asked = tokio::spawn(async move { known(&hub, ids, "1", None).await.unwrap() });
            for agent in &mut agents {
                answer(agent, 200, of_length(bytes)).await;
            }
            let found = asked.await.unwrap();
            assert_eq!(
                (found.parts.len(), found.silent.len()),
                (parts, count - parts)
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn agents_are_asked_as_long_as_there_is_time_and_so_many_at_once() {
        let world = World::new(7).await;
        let question = Question::new(Arc::clone(world.hub()), 0);
        let id = agent_id("acme", "a-1").unwrap();
        tokio::time::advance(TRAFFIC_LIMIT - Duration::from_millis(1)).await;
        let asked = question.part(&id, None).await.unwrap_err();
        assert_eq!(asked, "is not connected");
        tokio::time::advance(Duration::from_millis(1)).await;
        let late = question.part(&id, None).await.unwrap_err();
        assert_eq!(late, "there was no time left to ask it");
    }

    #[tokio::test]
    async fn so_many_agents_tell_of_their_records_at_once_and_one_more_waits_for_its_turn() {
        let world = World::new(7).await;
        let question = Arc::new(Question::new(Arc::clone(world.hub()), 0));
        let mut asking_all = JoinSet::new();
        let mut agents = Vec::new();
        for number in 0..=TRAFFIC_ASKED_MAX {
            let agent = world.subscribed(&format!("a-{number}")).await;
            let (question, id) = (Arc::clone(&question), agent.0.node.clone());
            asking_all.spawn(async move { question.ask(id).await });
            agents.push(agent);
        }
        let (last, first) = agents.split_last_mut().unwrap();
        let mut asked = Vec::new();
        for (_, events) in &mut *first {
            asked.push(question_to(events).await.ask);
        }
        while let Ok(frame) = last.1.try_recv() {
            let event = Event::decode(&frame).unwrap();
            assert!(
                !matches!(event, Some((Some(Event::Ask(_)), _))),
                "it was asked too"
            );
        }
        // The first one is not understood, and so is done.
        let unclear = Answer {
            status: 200,
            body: "?".to_owned(),
        };
        assert!(first[0].0.answered(&asked[0], unclear));
        let silent = asking_all.join_next().await.unwrap().unwrap().unwrap_err();
        assert!(silent.starts_with("its answer"), "{silent}");
        question_to(&mut last.1).await;
    }

    #[tokio::test]
    async fn so_much_is_held_and_told_and_the_rest_by_rule() {
        let world = World::new(7).await;
        let question = Question::new(Arc::clone(world.hub()), 0);
        let mut tally = question.tally.lock();
        (0..=TRAFFIC_REQUESTS_MAX).for_each(|path| tally.seen(seen(path)));
        for rule in 1..=TRAFFIC_RULES_MAX {
            let mut one = seen(TRAFFIC_REQUESTS_MAX);
            one.asked.ground = format!("/{rule}");
            tally.seen(one);
        }
        drop(tally);
        let told = question.told();
        let by_rule: u64 = told.rules.iter().map(|rule| rule.count).sum();
        let all = TRAFFIC_REQUESTS_MAX + 1 + TRAFFIC_RULES_MAX;
        assert!(
            told.requests.len() < TRAFFIC_REQUESTS_MAX && told.rules.len() == TRAFFIC_RULES_MAX
        );
        assert_eq!(
            number(told.requests.len()) + by_rule + told.more_granted,
            number(all)
        );
        assert_eq!(told.more_granted, 1, "one rule more than there is room for");
        let json = serde_json::to_vec(&told).unwrap();
        assert!(json.len() <= TRAFFIC_BYTES_MAX, "{}", json.len());
    }

    #[test]
    fn as_many_nodes_as_the_limit_are_asked_and_one_more_is_told() {
        for (all, asked, unasked) in [
            (ASKED_NODES_MAX, ASKED_NODES_MAX, 0),
            (ASKED_NODES_MAX + 1, ASKED_NODES_MAX, 1),
        ] {
            let mut nodes: Vec<usize> = (0..all).rev().collect();
            assert_eq!(at_most(&mut nodes), unasked);
            assert_eq!((nodes.len(), nodes.first()), (asked, Some(&0)));
        }
    }
}

//! What is made for an attempt, and when: by a provider that keeps what it was asked for.

use std::time::Instant;

use super::*;
use crate::{
    endpoint::value::{Given, Unmade},
    link::Done,
};
use wskeeper_core::session::{Act, Answer, Brought, Call, CallTls, Errand, Names, Plan, Pointer, Text};

/// Answers each call with a ticket of its own.
#[derive(Debug, Default)]
struct Tickets {
    asked: Mutex<Vec<String>>,
    refuses: bool,
}

impl Provider for Tickets {
    fn run(&self, errand: Errand, _: Arc<Endpoint>) -> BoxFuture<Done> {
        let Errand::Call(request) = errand else { panic!("a value is wanted") };
        let mut asked = self.asked.lock();
        asked.push(request.url);
        let later = Some(Duration::from_secs(9));
        let answer = if self.refuses {
            Answer { retry_after: later, ..Answer::of(429, "slower") }
        } else {
            Answer::of(200, format!("{{\"ticket\": \"ticket-{}\"}}", asked.len()))
        };
        Box::pin(async move { Ok(Brought::Answer(answer)) })
    }

    fn values(&self, _: Arc<Endpoint>, _: u32, _: Option<Instant>) -> BoxFuture<Result<Vec<Given>, Unmade>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

struct World(Arc<Endpoint>, Arc<Tickets>);

impl Source for World {
    fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.0)
    }

    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.1) as _
    }
}

/// An endpoint at this URL, with a step of `dial` that brings a ticket.
fn world(url: &str, header: &str, tickets: Tickets) -> Arc<World> {
    let template = |text: &str| Template::parse_with_variables(text, Path::new("")).unwrap();
    let mut names = Names::default();
    let ticket = names.intern("ticket").unwrap();
    let call = Call {
        method: "GET".into(),
        url: Text::literal("http://api.invalid/"),
        headers: [].into(),
        body: None,
        timeout: Duration::from_secs(10),
        max_bytes: 1 << 10,
        tls: CallTls::Endpoint,
        extract: [(ticket, Pointer::parse("/ticket").unwrap())].into(),
        expect: [].into(),
    };
    let dial = [wskeeper_core::session::Step::of(Act::Http(call.into()))].into();
    let plan = Arc::new(Plan { names, dial, timeout: Duration::from_secs(30), ..Plan::default() });
    let mut endpoint = Endpoint::clone(&endpoint("url = 'ws://unused/'"));
    endpoint.urls = vec![template(url)];
    endpoint.headers = vec![("x-ticket".parse().unwrap(), template(header))];
    endpoint.session = Some(Arc::new(Session { plan, ..Session::default() }));
    endpoint.agree();
    Arc::new(World(Arc::new(endpoint), Arc::new(tickets)))
}

/// Dials while the only place is held for so long, and answers with what had been asked for at its end.
async fn dial_behind(world: &Arc<World>, held: Duration) -> (Result<Dialled<Transport>, DialFailure>, Vec<String>) {
    let admission = Counted::new(1);
    let holder = admission.let_in(vec![SocketAddr::from(([127, 0, 0, 1], 1))], false).await;
    let dialer = Dialer::new(id(), Arc::clone(world) as _, Arc::clone(&admission) as _);
    let (told, mut heard) = mpsc::channel(64);
    let mut attempt = dialer.dial(first(), None, telling(told));
    loop {
        tokio::select! {
            outcome = &mut attempt => panic!("it was not let in, yet {:?}", outcome.err()),
            step = heard.recv() => if step == Some(Progress::Queued) { break },
        }
    }
    tokio::time::pause();
    tokio::time::advance(held).await;
    tokio::time::resume();
    let asked = world.1.asked.lock().clone();
    drop(holder);
    (attempt.await, asked)
}

#[tokio::test]
async fn what_is_made_for_an_attempt_is_made_once_it_is_let_in() {
    let (address, server) = serve(vec![GOOD.into()]).await;
    let world = world(&format!("ws://{address}/"), "${var:ticket}", Tickets::default());
    let (outcome, asked) = dial_behind(&world, Duration::from_mins(5)).await;
    assert_eq!(asked, [""; 0], "nothing is asked for in the line");
    assert_eq!(outcome.unwrap().session.unwrap().dialled.unwrap().steps().len(), 1);
    assert_eq!(world.1.asked.lock().len(), 1);
    assert!(server.await.unwrap()[0].contains("x-ticket: ticket-1\r\n"));
}

#[tokio::test]
async fn what_says_where_to_is_made_before_the_line_and_once_more_by_who_has_waited() {
    for (held, ticket) in [(Duration::ZERO, "ticket-1"), (Duration::from_mins(5), "ticket-2")] {
        let (address, server) = serve(vec![GOOD.into()]).await;
        let world = world(&format!("ws://{address}/${{var:ticket}}"), "", Tickets::default());
        let (outcome, asked) = dial_behind(&world, held).await;
        assert_eq!(asked.len(), 1);
        let shown = outcome.unwrap().established.url;
        assert_eq!(*shown, format!("ws://{address}/***"), "what came by HTTP is secret");
        let heard = server.await.unwrap();
        assert!(heard[0].starts_with(&format!("GET /{ticket} ")), "{heard:?}");
    }
}

#[tokio::test]
async fn a_refusing_call_fails_the_attempt_as_the_session_calls_it_and_lets_the_next_one_in() {
    let tickets = Tickets { refuses: true, ..Tickets::default() };
    let world = world(&format!("ws://{}/", dead().await), "${var:ticket}", tickets);
    let admission = Counted::new(1);
    let dialer = Dialer::new(id(), Arc::clone(&world) as _, Arc::clone(&admission) as _);
    let (told, _heard) = mpsc::channel(64);
    let failure = dialer.dial(first(), None, telling(told)).await.unwrap_err();
    assert_eq!((failure.cause, failure.label.as_deref()), (Cause::Session, Some("http")));
    assert_eq!(failure.retry_after.map(RetryAfter::span), Some(Duration::from_secs(9)));
    assert_eq!(failure.steps.unwrap().steps.len(), 1);
    assert_eq!((admission.held.load(Ordering::SeqCst), &admission.verdicts.lock()[..]), (0, &[None][..]));
}

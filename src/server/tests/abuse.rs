//! Clients of HTTP/2 that do not keep to what they were told, byte by byte: libraries do.

use std::sync::atomic::AtomicUsize;

use super::*;

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;

/// `GET /` of `https://a`, by HPACK.
const GET: &[u8] = b"\x82\x84\x87\x41\x01a";

/// A connection on which nothing is sent but what the test says.
struct Raw(TlsStream<TcpStream>);

/// A frame of the server: its kind, its stream and its payload.
type Frame = (u8, u32, Vec<u8>);

impl Raw {
    async fn greet(stage: &Stage) -> Self {
        let mut raw = Self(stage.connect().await);
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        raw.send(SETTINGS, 0, 0, &[]).await.unwrap();
        raw
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await?;
        self.0.flush().await
    }

    /// The next frame; nothing where the server has closed the connection.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Whether the server says that it does not go on, and closes the connection.
    async fn ends(mut self) -> bool {
        let mut is_told = false;
        while let Some((kind, ..)) = self.next().await {
            is_told |= kind == GOAWAY;
        }
        is_told
    }
}

/// Requests that are being answered, and the most that there have been at a time.
#[derive(Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

struct One(Arc<UnderWay>);

impl UnderWay {
    fn begin(self: &Arc<Self>) -> One {
        self.all.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        One(Arc::clone(self))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server that never answers, and counts what it should.
async fn unanswering() -> (Stage, Arc<UnderWay>) {
    let under_way = Arc::new(UnderWay::default());
    let begun = Arc::clone(&under_way);
    let router = Router::new().fallback(async move |request: Request<Body>| {
        let _held = (begun.begin(), request);
        std::future::pending::<()>().await;
    });
    (Stage::serving(router, &Options::default(), "h2", Limits::default()).await, under_way)
}

#[tokio::test]
async fn a_connection_has_only_so_many_requests_at_a_time() {
    const MORE: u32 = 50;
    let (stage, under_way) = unanswering().await;
    let mut raw = Raw::greet(&stage).await;
    for number in 0..MAX_STREAMS + MORE {
        raw.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, GET).await.unwrap();
    }
    let (mut refused, mut told) = (0, None);
    while refused < MORE {
        let (kind, _, payload) = raw.next().await.expect("the connection goes on");
        match kind {
            SETTINGS if !payload.is_empty() => {
                told = payload
                    .chunks(6)
                    .find(|one| one[..2] == [0, 3])
                    .map(|one| u32::from_be_bytes([one[2], one[3], one[4], one[5]]));
            }
            RESET => {
                assert_eq!(payload, REFUSED_STREAM.to_be_bytes(), "it can be sent again");
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!(told, Some(MAX_STREAMS));
    let most = usize::try_from(MAX_STREAMS).unwrap();
    let all = async {
        while under_way.all.load(Ordering::SeqCst) < most {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FIRST_HEAD, all).await.unwrap();
    assert_eq!(under_way.most.load(Ordering::SeqCst), most);
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    const MANY: u32 = 100_000;
    let (stage, under_way) = unanswering().await;
    let mut raw = Raw::greet(&stage).await;
    for number in 0..MANY {
        let stream = 2 * number + 1;
        let sent = raw.send(HEADERS, END_STREAM | END_HEADERS, stream, GET).await;
        let reset = raw.send(RESET, 0, stream, &8_u32.to_be_bytes()).await;
        if sent.and(reset).is_err() {
            break;
        }
    }
    // What it has said before it closed the connection may be lost.
    while raw.next().await.is_some() {}
    let (most, all) = (under_way.most.load(Ordering::SeqCst), under_way.all.load(Ordering::SeqCst));
    assert!(most <= usize::try_from(MAX_STREAMS).unwrap(), "{most}");
    assert!(all < usize::try_from(MANY).unwrap() / 2, "{all}");
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let (stage, under_way) = unanswering().await;
    let mut raw = Raw::greet(&stage).await;
    raw.send(HEADERS, END_STREAM, 1, GET).await.unwrap();
    let mut sent = 0;
    // A header of 16 KiB, again and again: `a: bbb…`, not indexed, by HPACK.
    let value = vec![b'b'; 16_000];
    let header = [&b"\x00\x01a\x7f\x81\x7c"[..], &value].concat();
    while sent < 1_000 && raw.send(CONTINUATION, 0, 1, &header).await.is_ok() {
        sent += 1;
    }
    while raw.next().await.is_some() {}
    assert!(sent < 1_000, "{sent}");
    assert_eq!(under_way.all.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    let (stage, _) = unanswering().await;
    for (kind, flags, stream, payload) in [
        // A request of the server's; headers that cannot be read; settings that cannot be.
        (HEADERS, END_STREAM | END_HEADERS, 2, GET),
        (HEADERS, END_STREAM | END_HEADERS, 1, &b"\xff\xff\xff\xff\xff"[..]),
        (CONTINUATION, END_HEADERS, 1, GET),
        (SETTINGS, 0, 0, b"short"),
    ] {
        let mut raw = Raw::greet(&stage).await;
        raw.send(kind, flags, stream, payload).await.unwrap();
        assert!(raw.ends().await, "{kind} {stream} {payload:?}");
    }
}

#[tokio::test]
async fn bodies_are_not_taken_in() {
    let (stage, _) = unanswering().await;
    let (sender, connection) = h2::client::handshake(stage.connect().await).await.unwrap();
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut sender = sender.ready().await.unwrap();
    let mut bodies = Vec::new();
    let mut taken = 0;
    for _ in 0..2 {
        let request = Request::post("https://a/").body(()).unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.reserve_capacity(1 << 20);
        let granted = async {
            while let Some(room) = std::future::poll_fn(|context| body.poll_capacity(context)).await
            {
                let room = room.unwrap();
                body.send_data(vec![0; room].into(), false).unwrap();
                taken += room;
            }
        };
        // Nobody can do anything any more when it has ended.
        tokio::time::pause();
        tokio::time::timeout(Duration::from_millis(1), granted).await.unwrap_err();
        tokio::time::resume();
        bodies.push((answer, body));
    }
    assert_eq!(taken, usize::try_from(BODY_WINDOW).unwrap(), "of both");
}

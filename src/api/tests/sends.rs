//! A send in its plain form, which no router sees, beside the same by way of the router.

use tokio::io::AsyncWriteExt;

use super::bench::{Bench, rest};

/// The head's lines in order of name, and the body; what differs from one message to the next is left out.
async fn answered(bench: &Bench, path: &str, said: &str) -> String {
    let mut stream = bench.dial().await;
    let request = format!("POST {path} HTTP/1.1\r\nConnection: close\r\n{said}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date:")).collect();
    lines.sort_unstable();
    let told = format!("{}\n{body}", lines.join("\n"));
    let told = regex_lite::Regex::new("[0-9a-f]{32}").unwrap().replace_all(&told, "ID");
    regex_lite::Regex::new("20[0-9T:.-]*Z").unwrap().replace_all(&told, "TIME").into_owned()
}

#[tokio::test]
async fn a_send_is_answered_the_same_whether_the_router_finds_it_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2").unwrap();
    let bench = Bench::new(&format!(
        "max_body = \"1KiB\"\n[[api.tokens]]\nname = \"a\"\ntoken = \"${{file:{}}}\"\nscopes = [\"send\"]\n\
         endpoints = [\"feed\"]\n[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\noutbox.max_message = 64\n",
        token.display()
    ))
    .await;
    let (host, token) = ("Host: localhost\r\n", "Authorization: Bearer hunter2\r\n");
    let (hello, chunks) =
        ("Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    let large = format!("Content-Length: 65\r\n\r\n{}", "x".repeat(65));
    let huge = format!("Transfer-Encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n", "x".repeat(0x401));
    for (status, name, query, said) in [
        (202, "feed", "", format!("{host}{token}{hello}")),
        (202, "feed", "?type=binary&ttl=1s", format!("{host}{token}{chunks}")),
        (202, "feed", "", format!("{host}{token}\r\n")),
        (400, "feed", "?typ=binary", format!("{host}{token}{hello}")),
        (400, "feed", "", format!("{host}{token}Content-Length: 1\r\n\r\n\u{80}")),
        (401, "feed", "", format!("{host}{hello}")),
        (403, "feed", "", format!("{host}{token}Origin: http://evil.example\r\n{hello}")),
        (403, "other", "", format!("{host}{token}{hello}")),
        (413, "feed", "", format!("{host}{token}{large}")),
        (413, "feed", "", format!("{host}{token}{huge}")),
        (415, "feed", "", format!("{host}{token}Content-Type: image/png\r\n{hello}")),
        (421, "feed", "", format!("Host: evil.example\r\n{token}{hello}")),
        (504, "feed", "?wait=written&timeout=1ms", format!("{host}{token}{hello}")),
    ] {
        let plain = answered(&bench, &format!("/v1/endpoints/{name}/messages{query}"), &said).await;
        let escaped = format!("%{:02x}{}", name.as_bytes()[0], &name[1..]);
        let routed = answered(&bench, &format!("/v1/endpoints/{escaped}/messages{query}"), &said).await;
        assert!(plain.contains(&format!("HTTP/1.1 {status} ")), "{plain}");
        assert_eq!(plain, routed, "{said}");
    }
}

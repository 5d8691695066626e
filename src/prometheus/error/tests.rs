use super::*;

fn api(status: u16, kind: &str) -> Error {
    let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"SECRET"}}"#);
    Error::of_answer(status, body.as_bytes(), None)
}

fn page(status: u16) -> Error {
    Error::of_answer(status, b"<html>SECRET</html>", None)
}

#[test]
fn statuses_are_told_by_number_and_meaning_whatever_the_body() {
    for (status, meaning, kind) in [
        (302, "redirect", "http"),
        (307, "redirect", "http"),
        (401, "credentials", "http"),
        (403, "credentials", "http"),
        (404, "path prefix", "http"),
        (405, "--prometheus-verb", "http"),
        (407, "credentials", "http"),
        (408, "in time", "timeout"),
        (414, "too long", "http"),
        (418, "answered", "http"),
        (422, "refused the query", "refused"),
        (429, "limits", "http"),
        (500, "failed", "http"),
        (502, "proxy", "http"),
        (503, "unavailable", "http"),
        (504, "in time", "timeout"),
    ] {
        for error in [page(status), Error::of_answer(status, b"", None), api(status, "internal")] {
            let public = error.public().to_string();
            assert!(public.contains(&format!("HTTP status {status}")), "{public}");
            assert!(public.contains(meaning) && !public.contains("SECRET"), "{public}");
            assert_eq!(error.kind(), kind, "{public}");
        }
    }
    let plain = Error::of_answer(400, b"unknown function SECRET", None);
    for error in [plain, Error::of_answer(400, b"", None), api(400, "bad_data")] {
        assert_eq!(error.public(), PublicError::Refused(Some(400)), "{error}");
    }
    for error in [api(503, "timeout"), api(422, "timeout")] {
        assert!(error.public().to_string().contains("did not answer in time"), "{error}");
    }
}

/// The messages are those of Prometheus 2.42 and VictoriaMetrics 1.79.
#[test]
fn backends_that_do_not_read_quoted_names_are_told_from_others() {
    let told = |status: u16, message: &str| {
        let body = serde_json::json!({"status": "error", "errorType": "x", "error": message});
        Error::of_answer(status, body.to_string().as_bytes(), None).public()
    };
    for message in [
        r#"invalid parameter "query": 1:3: parse error: unexpected string "\"a.b\"" in label matching, expected identifier or "}""#,
        r#"1:9: parse error: unexpected string "\"a.b\"" in grouping opts, expected label"#,
        r#"cannot parse matches[]={"a.b"}: labelFilterExpr: unexpected token "\"a.b\""; want "ident"; unparsed data: "\"a.b\"}""#,
        r#"identList: unexpected token "\"a.b\""; want "ident"; unparsed data: "\"a.b\") (x)""#,
    ] {
        let public = told(400, message);
        assert_eq!(public, PublicError::QuotedNames(Some(400)), "{message}");
        assert!(public.to_string().contains("Prometheus 3"), "{public}");
        let long = format!("cannot parse {}: {message}", "é".repeat(1_000));
        assert_eq!(told(422, &long), PublicError::QuotedNames(Some(422)), "{message}");
        let plain = Error::of_answer(400, long.as_bytes(), None);
        assert_eq!(plain.public(), PublicError::QuotedNames(Some(400)), "{message}");
        assert!(plain.to_string().chars().count() < 300, "{plain}");
    }
    for message in [
        r#"1:8: parse error: unexpected string "\"c\"" in label matching, expected "," or "}""#,
        r#"1:9: parse error: unexpected number "1" in grouping opts, expected label"#,
        r#"identList: unexpected token ""; want "ident"; unparsed data: """#,
        r#"labelFilterExpr: unexpected token "."; want "ident"; unparsed data: ".b=\"c\"}""#,
        "1:6: parse error: unclosed left parenthesis",
    ] {
        assert_eq!(told(422, message), PublicError::Refused(Some(422)), "{message}");
    }
}

#[test]
fn what_is_about_the_query_may_be_answered_for_less() {
    for error in [api(422, "execution"), page(400), page(414), api(503, "timeout")] {
        assert!(error.is_about_the_query(), "{error}");
    }
    for error in [page(401), api(403, "forbidden"), page(404), page(429), page(503), page(302)] {
        assert!(!error.is_about_the_query(), "{error}");
    }
}

#[test]
fn a_server_is_blamed_for_what_no_query_causes() {
    use Blame::{Query, Request, Server};
    let later = Some(Duration::from_secs(1));
    let in_200 =
        |kind: &str| DecodeError::Api { kind: kind.to_owned(), message: Message::default() };
    for (error, blame) in [
        (api(400, "bad_data"), Query),
        (api(422, "execution"), Query),
        (api(422, "422"), Query),
        (api(503, "timeout"), Query),
        (api(503, "canceled"), Server),
        (page(400), Query),
        (page(413), Query),
        (page(504), Query),
        (in_200("execution").into(), Query),
        (Error::Timeout(Duration::ZERO), Query),
        (Error::Busy(Duration::ZERO), Query),
        (Error::TooLarge(1), Query),
        (api(429, "too_many_requests"), Request),
        (page(429), Request),
        (Error::of_answer(503, b"", later), Request),
        (Error::Paused(PublicError::Busy), Request),
        (page(503), Server),
        (api(500, "internal"), Server),
        (api(503, "unavailable"), Server),
        (page(502), Server),
        (page(401), Request),
        (api(403, "forbidden"), Request),
        (page(404), Request),
        (page(302), Server),
        (in_200("internal").into(), Server),
        (DecodeError::NoData.into(), Server),
        (DecodeError::Json(String::new()).into(), Server),
        (Error::Page(String::new()), Server),
    ] {
        assert_eq!(error.blame(), blame, "{error}");
    }
    let [unsent, slow, answered] =
        [Error::Silent(PublicError::Busy), Error::Timeout(Duration::ZERO), page(503)];
    assert!(unsent.tells() < slow.tells() && slow.tells() < answered.tells());
}

#[test]
fn what_ends_for_lack_of_time_and_what_fails_in_evaluation_are_told_apart() {
    for error in [Error::Timeout(Duration::ZERO), page(504), api(503, "timeout")] {
        assert!(error.is_too_slow() && !error.is_of_evaluation(), "{error}");
    }
    for error in [api(422, "execution"), page(422), api(422, "422")] {
        assert!(error.is_of_evaluation() && !error.is_too_slow(), "{error}");
    }
    let silent = Error::Silent(PublicError::TimedOut(None));
    for error in [silent, api(400, "bad_data"), page(503)] {
        assert!(!error.is_too_slow() && !error.is_of_evaluation(), "{error}");
    }
}

#[test]
fn servers_that_want_tls_say_so_in_their_own_words() {
    for words in [
        "Client sent an HTTP request to an HTTPS server.\n",
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    ] {
        let error = Error::of_answer(400, words.as_bytes(), None);
        assert_eq!(error.public(), PublicError::Unreachable(Obstacle::SpeaksTls), "{words}");
    }
    let other = page(400).public();
    assert_eq!(other, PublicError::Status(400));
    assert!(other.to_string().contains("a proxy or web server"), "{other}");
}

#[test]
fn pages_are_told_from_answers() {
    assert!(Error::of_page(b"\n <!DOCTYPE html>").is_some());
    assert!(Error::of_page(b"{\"a\":\"<b>\"}").is_none() && Error::of_page(b"").is_none());
}

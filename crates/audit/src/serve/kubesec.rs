//! kubesec as a server: `POST /` and `/scan` score what comes, `POST /admit` answers the API server of a cluster as an admission
//! webhook (`admission.k8s.io/v1`), `POST /warn` the same without ever refusing.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Answer, Request, Site};
use crate::model::Limits;
use crate::view::kubesec::{Kubesec, ObjectReport, write};

const USAGE: &str = "POST a manifest (YAML or JSON, several documents too) to / or /scan:

    curl --data-binary @pod.yaml http://127.0.0.1:8080/scan

POST an AdmissionReview (admission.k8s.io/v1) to /admit, or to /warn to be warned only.
GET /healthz and /metrics.";

/// The site.
#[derive(Debug)]
pub struct KubesecSite {
    kubesec: Kubesec,
    limits: Limits,
    /// Objects below this are refused.
    min_score: i64,
    scanned: AtomicU64,
    admitted: AtomicU64,
    refused: AtomicU64,
}

impl KubesecSite {
    /// A site whose webhook refuses objects below `min_score`.
    pub fn new(min_score: i64, limits: Limits) -> Self {
        Self {
            kubesec: Kubesec::new(),
            limits,
            min_score,
            scanned: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn scan(&self, route: &'static str, body: &[u8]) -> Answer {
        let body = body.strip_prefix(b"file=").unwrap_or(body);
        let Ok(text) = std::str::from_utf8(body) else {
            return Answer::text(route, 400, "invalid input: not UTF-8");
        };
        match self.kubesec.judge("API", text, &self.limits) {
            Err(error) => Answer::text(route, 400, &format!("invalid input: {}: {}", error.at, error.what)),
            Ok(reports) if reports.is_empty() => Answer::text(route, 400, "invalid input: no document in it"),
            Ok(reports) => {
                self.scanned.fetch_add(reports.len() as u64, Ordering::Relaxed);
                let mut body = Vec::new();
                write(&reports, &mut body).expect("memory takes everything");
                Answer::json(route, 200, body)
            }
        }
    }

    fn admit(&self, route: &'static str, body: &[u8], refuse: bool) -> Answer {
        let review: Value = match serde_json::from_slice(body) {
            Ok(review) => review,
            Err(error) => return Answer::text(route, 400, &format!("expected an AdmissionReview in JSON: {error}")),
        };
        let (version, kind) = (review["apiVersion"].as_str(), review["kind"].as_str());
        if (version, kind) != (Some("admission.k8s.io/v1"), Some("AdmissionReview")) {
            let came = format!("{} {}", version.unwrap_or("no apiVersion"), kind.unwrap_or("and no kind"));
            return Answer::text(route, 400, &format!("expected admission.k8s.io/v1 AdmissionReview, found {came}"));
        }
        let Some(uid) = review["request"]["uid"].as_str() else {
            return Answer::text(route, 400, "expected a text for request.uid, found nothing");
        };
        let mut response = self.decide(&review["request"]["object"], refuse);
        let counter = if response["allowed"] == true { &self.admitted } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        response["uid"] = uid.into();
        let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
        Answer::json(route, 200, review.to_string())
    }

    fn decide(&self, object: &Value, refuse: bool) -> Value {
        // Of a deletion there is nothing to judge.
        if object.is_null() {
            return json!({ "allowed": true });
        }
        let reports = match self.kubesec.judge("API", &object.to_string(), &self.limits) {
            Ok(reports) => reports,
            // Too large or too deep to be judged; who wanted it let in has asked for a webhook that does not refuse.
            Err(error) => {
                let words = format!("ringfort: not judged: {}", error.what);
                return if refuse {
                    json!({ "allowed": false, "status": { "code": 403, "message": words } })
                } else {
                    json!({ "allowed": true, "warnings": [words] })
                };
            }
        };
        let low: Vec<&ObjectReport> = reports.iter().filter(|report| report.score < self.min_score).collect();
        if low.is_empty() {
            return json!({ "allowed": true });
        }
        let words = low.iter().map(|report| self.in_words(report)).collect::<Vec<_>>().join("; ");
        if refuse {
            json!({ "allowed": false, "status": { "code": 403, "reason": "Forbidden", "message": words } })
        } else {
            // Longer ones are cut by the API server anyway, without saying so.
            let words: String = words.chars().take(250).collect();
            json!({ "allowed": true, "warnings": [words] })
        }
    }

    fn in_words(&self, report: &ObjectReport) -> String {
        let mut words = format!(
            "ringfort: {} scores {} points, at least {} are asked for",
            report.object, report.score, self.min_score
        );
        for rule in &report.scoring.critical {
            let _ = write!(words, "; {} ({})", rule.id, rule.points);
        }
        for rule in report.scoring.advise.iter().take(3) {
            let _ = write!(words, "; missing: {} (+{})", rule.id, rule.points);
        }
        words
    }
}

impl Site for KubesecSite {
    fn answer(&self, request: &Request) -> Answer {
        let route = match request.path.as_str() {
            "/" => "/",
            "/scan" => "/scan",
            "/admit" => "/admit",
            "/warn" => "/warn",
            "/usage" => "/usage",
            _ => return Answer::text("other", 404, "not found; GET /usage says what there is"),
        };
        match (request.method.as_str(), route) {
            ("GET" | "HEAD", "/usage") => Answer::text(route, 200, USAGE),
            ("GET" | "HEAD", _) => Answer::elsewhere(route, "/usage"),
            ("POST", "/" | "/scan") => self.scan(route, &request.body),
            ("POST", "/admit") => self.admit(route, &request.body, true),
            ("POST", "/warn") => self.admit(route, &request.body, false),
            _ => Answer::text(route, 405, "only GET and POST"),
        }
    }

    fn metrics(&self, out: &mut String) {
        for (name, help, counter) in [
            ("documents", "Documents that were scored.", &self.scanned),
            ("admitted", "Objects that the webhook let in.", &self.admitted),
            ("refused", "Objects that the webhook refused.", &self.refused),
        ] {
            let _ = writeln!(
                out,
                "# HELP ringfort_kubesec_{name}_total {help}\n# TYPE ringfort_kubesec_{name}_total counter\n\
                 ringfort_kubesec_{name}_total {}",
                counter.load(Ordering::Relaxed)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> KubesecSite {
        KubesecSite::new(0, Limits::default())
    }

    fn ask(method: &str, path: &str, body: &str) -> Answer {
        site().answer(&Request { method: method.to_owned(), path: path.to_owned(), body: body.as_bytes().to_vec() })
    }

    fn review(object: &Value) -> String {
        let request = json!({ "uid": "705ab4f5", "operation": "CREATE", "object": object });
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request }).to_string()
    }

    fn pod(privileged: bool) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": "shop" },
            "spec": { "containers": [{ "name": "c", "image": "i", "securityContext": { "privileged": privileged } }] } })
    }

    #[test]
    fn manifests_are_scored_with_the_prefix_of_a_form_too() {
        let pod = pod(true).to_string();
        for body in [pod.clone(), format!("file={pod}")] {
            let answer = ask("POST", "/scan", &body);
            assert_eq!((answer.status, answer.content_type), (200, "application/json"));
            let reports: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!((&reports[0]["score"], &reports[0]["fileName"]), (&(-30).into(), &"API".into()));
        }
        let two = format!("{pod}\n---\n{pod}");
        let reports: Value = serde_json::from_slice(&ask("POST", "/", &two).body).expect("JSON");
        assert_eq!(reports.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn what_cannot_be_scored_gets_words() {
        for (body, words) in [("", "no document"), ("a: [", "invalid input: "), ("\u{0}", "invalid input")] {
            let answer = ask("POST", "/", body);
            assert_eq!(answer.status, 400);
            assert!(String::from_utf8_lossy(&answer.body).contains(words), "{body:?}");
        }
        assert_eq!(ask("GET", "/", "").status, 303);
        assert_eq!(ask("GET", "/scan", "").location, Some("/usage"));
        assert_eq!(ask("GET", "/usage", "").status, 200);
        assert_eq!(ask("PUT", "/", "").status, 405);
        assert_eq!(ask("GET", "/nothing", "").status, 404);
    }

    #[test]
    fn the_webhook_refuses_below_the_score_and_says_why() {
        let answer = ask("POST", "/admit", &review(&pod(true)));
        let review: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&"admission.k8s.io/v1".into(), &"AdmissionReview".into())
        );
        let response = &review["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&"705ab4f5".into(), &false.into()));
        let words = response["status"]["message"].as_str().expect("words");
        assert!(
            words.starts_with("ringfort: Pod/a.shop scores -30 points, at least 0 are asked for; Privileged (-30)"),
            "{words}"
        );
    }

    #[test]
    fn the_webhook_lets_in_what_is_good_gone_or_not_judged() {
        for object in [pod(false), Value::Null, json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} })] {
            let review: Value = serde_json::from_slice(&ask("POST", "/admit", &review(&object)).body).expect("JSON");
            assert_eq!(review["response"], json!({ "uid": "705ab4f5", "allowed": true }), "{object}");
        }
        let warned: Value = serde_json::from_slice(&ask("POST", "/warn", &review(&pod(true))).body).expect("JSON");
        assert_eq!(warned["response"]["allowed"], true);
        assert!(
            warned["response"]["warnings"][0].as_str().is_some_and(|words| words.contains("-30") && words.len() <= 256)
        );
    }

    #[test]
    fn what_is_no_review_is_refused_with_words() {
        for (body, words) in [
            ("{", "expected an AdmissionReview in JSON"),
            ("{}", "found no apiVersion and no kind"),
            (r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#, "found admission.k8s.io/v1beta1"),
            (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#, "request.uid"),
        ] {
            let answer = ask("POST", "/admit", body);
            assert_eq!(answer.status, 400);
            assert!(String::from_utf8_lossy(&answer.body).contains(words), "{body}");
        }
    }
}

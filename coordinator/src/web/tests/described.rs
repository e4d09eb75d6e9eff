//! The description of the API, held against what is answered: it names every address and every field, and nothing
//! that is not there.

use std::collections::BTreeSet;

use proto::{json, v1};
use serde_json::{Value, json};

use super::*;
use crate::store::RaisedRecord;

/// The schemas, and those of them that an answer was held against.
struct Described {
    schemas: Value,
    met: BTreeSet<String>,
}

impl Described {
    /// Panics where a value is not what its schema says, or holds what that does not name.
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            self.met.insert(name.to_owned());
            let named = self.schemas[name].clone();
            assert!(named.is_object(), "{at}: there is no schema {name}");
            return self.check(&named, value, at);
        }
        if value.is_null() {
            assert_eq!(schema["nullable"], true, "{at} is null");
            return;
        }
        if let Some(one) = schema["allOf"].as_array() {
            return self.check(&one[0], value, at);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            assert!(any.iter().any(|kind| fits(kind, value)), "{at}: {value}");
            return;
        }
        assert!(fits(schema, value), "{at} is {value}, and not {schema}");
        match value {
            Value::Object(fields) => self.check_fields(schema, fields, at),
            Value::Array(items) => {
                for item in items {
                    self.check(&schema["items"], item, &format!("{at}[]"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn check_fields(&mut self, schema: &Value, fields: &serde_json::Map<String, Value>, at: &str) {
        for field in schema["required"].as_array().into_iter().flatten() {
            let field = field.as_str().unwrap();
            assert!(fields.contains_key(field), "{at} lacks {field}");
        }
        for (field, value) in fields {
            let at = format!("{at}.{field}");
            match (
                &schema["properties"][field],
                &schema["additionalProperties"],
            ) {
                (Value::Null, Value::Bool(true)) => {}
                (Value::Null, Value::Null) => panic!("{at} is not described"),
                (Value::Null, others) => self.check(others, value, &at),
                (named, _) => self.check(named, value, &at),
            }
        }
    }
}

/// Whether a value is of the type, of the words and within the bounds of a schema.
fn fits(schema: &Value, value: &Value) -> bool {
    let known = match schema["enum"].as_array() {
        Some(words) => words.contains(value),
        None => true,
    };
    let bound = |name: &str| schema[name].as_f64();
    let within = |number: f64| {
        bound("minimum").is_none_or(|least| number >= least)
            && bound("maximum").is_none_or(|most| number <= most)
    };
    let instant = |text: &str| schema["format"] != "date-time" || time::micros(text).is_some();
    known
        && match (schema["type"].as_str().unwrap(), value) {
            ("object", Value::Object(_))
            | ("array", Value::Array(_))
            | ("boolean", Value::Bool(_)) => true,
            ("string", Value::String(text)) => instant(text),
            ("integer", Value::Number(number)) => {
                !number.is_f64() && within(number.as_f64().unwrap())
            }
            ("number", Value::Number(number)) => within(number.as_f64().unwrap()),
            _ => false,
        }
}

/// A bench in which every schema is met.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    let mut fault = samples::fault();
    let earlier = json!([{"kind": "cdn", "name": "192.0.2.1", "mode": "stalls",
        "began_at": "2030-01-02T03:00:00.000Z", "ended_at": "2030-01-02T03:01:00.000Z"}]);
    fault.earlier = serde_json::from_value(earlier).unwrap();
    let left = json!([{"vantage": "home1", "arm": "vip/203.0.113.10:443", "because": "refused"}]);
    fault.not_probed = serde_json::from_value(left).unwrap();
    fault.faults[0].period_s = Some(60.0);
    bench.keep(&fault).await;
    for (id, mut verdict) in [
        ("v-well", samples::healthy()),
        ("v-open", samples::inconclusive()),
    ] {
        verdict.id = id.to_owned();
        bench.keep(&verdict).await;
    }
    let raised = RaisedRecord {
        began_us: clock::now_us(),
        over: Some((clock::now_us(), localize::watch::Ending::Quiet)),
        false_alarms_a_day: 1e-4,
    };
    let verdict = fault.id;
    let raised = Write::Raised { verdict, raised };
    bench.store.commit(vec![raised]).await.unwrap();
    let toml = format!(
        "{}[request]\nmethod = \"POST\"\nbody = \"{{}}\"\nheaders = {{ accept = \"*/*\" }}\n\
         [expect]\nstatus = [\"2xx\", 301]\nbody = \"Welcome\"\nmax_ttfb = \"2s\"\n[schedule]\nevery = \"10s\"\n",
        samples::SERVICE
    );
    let apply = bench.engine.ask(|reply| Event::Apply {
        toml,
        ca_pem: None,
        reply,
    });
    apply.await.unwrap();
    let now_us = clock::now_us();
    let before_us = now_us - 90 * 60 * 1_000_000;
    bench
        .observe(vec![seen(1, before_us, true), seen(2, now_us, true)])
        .await;
    bench
}

#[tokio::test]
async fn every_answer_is_what_the_description_says() {
    let bench = bench().await;
    let description = bench.json("/api/v1/openapi.json").await;
    let mut described = Described {
        schemas: description["components"]["schemas"].clone(),
        met: BTreeSet::new(),
    };
    let paths = description["paths"].as_object().unwrap();
    let answered: BTreeSet<&str> = api::routes().iter().map(|(path, _)| *path).collect();
    assert_eq!(
        paths.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        answered
    );
    for (path, said) in paths {
        let name = match path.starts_with("/agents") {
            true => "dc1",
            false => "shop.example",
        };
        let asked = path.replace("{name}", name).replace("{id}", "v-7f3a");
        let answer = bench.json(&format!("/api/v1{asked}")).await;
        let content = |answer: &str| {
            said["get"]["responses"][answer]["content"]["application/json"]["schema"].clone()
        };
        described.check(&content("200"), &answer, path);
        assert_ne!(answer, json!([]), "{path} shows nothing");

        let (status, text, head) = bench
            .ask(request(Method::DELETE, &format!("/api/v1{asked}")))
            .await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(head.headers()[header::ALLOW], "GET, HEAD");
        let error = json!({"$ref": "#/components/schemas/Error"});
        described.check(&error, &serde_json::from_str(&text).unwrap(), path);
    }
    let (agent, status) = seldom();
    described.check(
        &json!({"$ref": "#/components/schemas/Agent"}),
        &agent,
        "agent",
    );
    described.check(
        &json!({"$ref": "#/components/schemas/Status"}),
        &status,
        "status",
    );
    let all = described.schemas.as_object().unwrap().keys();
    let unmet: Vec<&String> = all.filter(|name| !described.met.contains(*name)).collect();
    assert!(unmet.is_empty(), "no answer was held against {unmet:?}");
}

/// An agent that left an arm out, and the status of a store that was restored.
fn seldom() -> (Value, Value) {
    let left_out = v1::agent::LeftOut {
        service: "shop.example".to_owned(),
        arm: Some(v1::NotProbed {
            vantage: "dc1".to_owned(),
            arm: "vip/203.0.113.10:443".to_owned(),
            because: "refused".to_owned(),
        }),
    };
    let agent = v1::Agent {
        role: v1::Role::Inside.into(),
        state: "connected".to_owned(),
        not_probed: vec![left_out],
        ..v1::Agent::default()
    };
    let restored = v1::RestoredFrom {
        taken_at: "2030-01-02T03:00:00.000Z".to_owned(),
        restored_at: "2030-01-02T03:04:00.000Z".to_owned(),
        times: 1,
    };
    let status = v1::StatusResponse {
        started_at: "2030-01-02T03:04:00.000Z".to_owned(),
        restored: Some(restored),
        ..v1::StatusResponse::default()
    };
    (json::agent(&agent), json::status(&status))
}

/// Each parameter of a query changes the answer, or is refused where it makes no sense.
#[tokio::test]
async fn every_parameter_that_is_described_is_taken() {
    let bench = bench().await;
    let description = bench.json("/api/v1/openapi.json").await;
    let rows = [
        ("/services/{name}/history", "since_s", "7200"),
        ("/verdicts", "service", "other"),
        ("/verdicts", "limit", "1"),
    ];
    let mut described = Vec::new();
    for (path, said) in description["paths"].as_object().unwrap() {
        let parameters = said["get"]["parameters"].as_array().into_iter().flatten();
        let asked = parameters.filter(|parameter| parameter["in"] == "query");
        described
            .extend(asked.map(|asked| (path.as_str(), asked["name"].as_str().unwrap().to_owned())));
    }
    let known = rows.map(|(path, name, _)| (path, name.to_owned()));
    assert_eq!(described, known);
    for (path, name, value) in rows {
        let path = format!("/api/v1{}", path.replace("{name}", "shop.example"));
        let narrowed = bench.json(&format!("{path}?{name}={value}")).await;
        assert_ne!(narrowed, bench.json(&path).await, "{path}?{name}={value}");
        if name != "service" {
            // Beyond what any number holds, and what is answered at most.
            bench
                .json(&format!("{path}?{name}=208527537977214304731539"))
                .await;
            let (status, text) = bench.get(&format!("{path}?{name}=-1")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        }
    }
}

#[test]
fn the_page_of_the_documentation_names_every_address() {
    let page = include_str!("../../../../docs/api.md");
    for (path, _) in api::routes() {
        assert!(page.contains(&format!("/api/v1{path}`")), "{path}");
    }
}

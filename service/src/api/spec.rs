//! The OpenAPI document, made from the table of routes and the schemas in `schemas.json`.

use axum::Json;
use axum::http::Method;
use serde_json::{Map, Value, json};

use super::routes::routes;

/// What a route answers when all is well.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// A file of this type.
    File(&'static str),
    /// Server-sent events.
    Stream,
    /// No body.
    Nothing,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// Everybody.
    Nobody,
    /// A user who is logged in.
    User,
    /// A merchant, by key or login.
    Merchant,
}

/// What a route is.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Whether it needs an `Idempotency-Key`.
    pub(super) idempotent: bool,
    id: &'static str,
    auth: Auth,
    input: Option<&'static str>,
    answers: Vec<(u16, Answer)>,
    refusals: Vec<u16>,
    query: Vec<(&'static str, bool)>,
}

impl Spec {
    fn new(method: Method, path: &'static str, id: &'static str, answer: Answer, status: u16) -> Self {
        Self {
            method,
            path,
            idempotent: false,
            id,
            auth: Auth::Nobody,
            input: None,
            answers: vec![(status, answer)],
            refusals: vec![400, 429],
            query: Vec::new(),
        }
    }

    pub(super) fn get(path: &'static str, id: &'static str, answer: Answer) -> Self {
        Self::new(Method::GET, path, id, answer, 200)
    }

    pub(super) fn post(path: &'static str, id: &'static str, answer: Answer, status: u16) -> Self {
        Self::new(Method::POST, path, id, answer, status)
    }

    pub(super) fn put(path: &'static str, id: &'static str, answer: Answer, status: u16) -> Self {
        Self::new(Method::PUT, path, id, answer, status)
    }

    pub(super) fn delete(path: &'static str, id: &'static str) -> Self {
        Self::new(Method::DELETE, path, id, Answer::Nothing, 204)
    }

    /// Another answer that is no refusal.
    pub(super) fn also(mut self, status: u16, schema: &'static str) -> Self {
        self.answers.push((status, Answer::Json(schema)));
        self
    }

    pub(super) fn takes(mut self, schema: &'static str) -> Self {
        self.input = Some(schema);
        self.refuses(&[413])
    }

    pub(super) fn asks(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self.refuses(&[401, 403])
    }

    pub(super) fn once(mut self) -> Self {
        self.idempotent = true;
        self.refuses(&[409, 422])
    }

    pub(super) fn query(mut self, name: &'static str, required: bool) -> Self {
        self.query.push((name, required));
        self
    }

    pub(super) fn paged(self) -> Self {
        self.query("limit", false).query("cursor", false).refuses(&[422])
    }

    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self.refusals.sort_unstable();
        self.refusals.dedup();
        self
    }

    fn operation(&self) -> Value {
        let mut responses = Map::new();
        for status in &self.refusals {
            responses.insert(status.to_string(), json!({ "$ref": "#/components/responses/Problem" }));
        }
        for (status, answer) in &self.answers {
            responses.insert(status.to_string(), answer.response());
        }
        let mut operation = json!({ "operationId": self.id, "responses": responses, "parameters": self.parameters() });
        let fields = operation.as_object_mut().expect("made above");
        if let Some(schema) = self.input {
            let content = json!({ "application/json": { "schema": reference(schema) } });
            fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        }
        let security = match self.auth {
            Auth::Nobody => json!([]),
            Auth::User => json!([{ "token": [] }, { "cookie": [], "csrf": [] }]),
            Auth::Merchant => json!([{ "merchantKey": [] }, { "token": [] }, { "cookie": [], "csrf": [] }]),
        };
        fields.insert("security".to_owned(), security);
        operation
    }

    fn parameters(&self) -> Vec<Value> {
        let mut parameters = Vec::new();
        for part in self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let schema = json!({ "type": "string", "minLength": 1 });
            parameters.push(json!({ "name": part, "in": "path", "required": true, "schema": schema }));
        }
        for (name, required) in &self.query {
            let schema = match *name {
                "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 200 }),
                "newest" => json!({ "type": "boolean" }),
                "from_us" | "to_us" => json!({ "type": "integer", "minimum": 0 }),
                "direction" => json!({ "type": "string", "enum": ["in", "out"] }),
                "text" => json!({ "type": "string", "minLength": 1, "maxLength": 512 }),
                _ => json!({ "type": "string" }),
            };
            parameters.push(json!({ "name": name, "in": "query", "required": required, "schema": schema }));
        }
        if self.idempotent {
            parameters.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
        }
        parameters
    }
}

impl Answer {
    fn response(self) -> Value {
        let content = match self {
            Self::Json(schema) => json!({ "application/json": { "schema": reference(schema) } }),
            Self::File(kind) => json!({ kind: { "schema": { "type": "string" } } }),
            Self::Stream => {
                // what one event is; its data are JSON of the schema that the path names
                let fields = json!({ "event": { "type": "string" }, "data": { "type": "string" } });
                json!({ "text/event-stream": { "schema": { "type": "object", "properties": fields } } })
            }
            Self::Nothing => return json!({ "description": "done" }),
        };
        json!({ "description": "done", "content": content })
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The document.
///
/// # Panics
/// Never: `schemas.json` is part of the program and read by a test.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let path = paths.entry(route.spec.path).or_insert_with(|| json!({}));
        let method = route.spec.method.as_str().to_ascii_lowercase();
        path.as_object_mut().expect("made above").insert(method, route.spec.operation());
    }
    let schemas: Value = serde_json::from_str(include_str!("schemas.json")).expect("schemas.json is JSON");
    let key = json!({ "name": "Idempotency-Key", "in": "header", "required": true,
        "schema": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" } });
    let problem = json!({ "description": "refused",
        "content": { "application/problem+json": { "schema": reference("Problem") } } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "shardpay service", "version": "1", "description": "Users, wallets, buying, paying, cashing out, merchants. Sandbox card and bank." },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": { "IdempotencyKey": key },
            "responses": { "Problem": problem },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "merchantKey": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "session" },
                "csrf": { "type": "apiKey", "in": "header", "name": "X-CSRF-Token" },
            },
        },
    })
}

/// GET `/v1/openapi.json`.
pub(super) async fn openapi() -> Json<Value> {
    Json(document())
}

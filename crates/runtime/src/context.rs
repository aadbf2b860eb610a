//! The keysets that verification uses now: written by the core, read by the lanes.

use std::sync::{Arc, PoisonError, RwLock};

use shardpay_replica::verify::VerifyContext;

/// A snapshot that is replaced as a whole.
#[derive(Clone)]
pub(crate) struct ContextCell(Arc<RwLock<Arc<VerifyContext>>>);

impl ContextCell {
    pub(crate) fn new(context: Arc<VerifyContext>) -> Self {
        Self(Arc::new(RwLock::new(context)))
    }

    pub(crate) fn get(&self) -> Arc<VerifyContext> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, context: Arc<VerifyContext>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = context;
    }
}

//! The operators while the coordinator runs: changed one at a time, on disk first, and read by every call.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use proto::identity::Identity;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::refusals::Refusals;
use super::{Denied, FIRST, HOST, OPERATORS, OperatorError};
use crate::ca::{Authority, Issued};
use crate::clock;
use crate::engine::Fatal;
use crate::grpc::view::shortened;
use crate::rights::{Call, OperatorRole};
use crate::store::{
    Act, ActOutcome, Deed, HostDeed, OperatorRecord, OperatorState, Store, StoreError, Write,
};
use crate::tls::PeerCertificate;

/// An operator who may do what it asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: OperatorRole,
    /// What it shows.
    pub certificate: PeerCertificate,
    /// Over when the operator has no longer the rights that it had, and when the coordinator stops.
    pub rights: CancellationToken,
}

/// The operators. Cloning is cheap.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    store: Store,
    authority: Arc<Authority>,
    fatal: Fatal,
    stop: CancellationToken,
    lifetime: ArcSwap<Duration>,
    known: ArcSwap<BTreeMap<String, Known>>,
    /// Held from a decision until it is on disk and known.
    changing: Mutex<()>,
    refusals: std::sync::Mutex<Refusals>,
}

impl Caller {
    /// Something that it does, for the log.
    #[must_use]
    pub fn act(&self, call: Call, object: &str) -> Act {
        let object = shortened(object.to_owned());
        Act {
            role: Some(self.role),
            ..Act::new(clock::now_us(), &self.name, Deed::Call(call), object)
        }
    }
}

#[derive(Clone)]
struct Known {
    record: OperatorRecord,
    /// Over when its rights change.
    rights: CancellationToken,
}

type Operators = BTreeMap<String, Known>;

impl Registry {
    /// Brings back what the store has; certificates that it makes live for `lifetime`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(
        store: Store,
        authority: Arc<Authority>,
        fatal: Fatal,
        stop: CancellationToken,
        lifetime: Duration,
    ) -> Result<Self, StoreError> {
        let known = store.operators()?.into_iter().map(|record| {
            let rights = stop.child_token();
            (record.name.clone(), Known { record, rights })
        });
        Ok(Self(Arc::new(Inner {
            known: ArcSwap::from_pointee(known.collect()),
            store,
            authority,
            fatal,
            stop,
            lifetime: ArcSwap::from_pointee(lifetime),
            changing: Mutex::default(),
            refusals: std::sync::Mutex::default(),
        })))
    }

    /// Takes over another lifetime of certificates.
    pub fn reconfigure(&self, lifetime: Duration) {
        self.0.lifetime.store(Arc::new(lifetime));
    }

    /// Whoever shows this certificate of an operator, if it may do this.
    ///
    /// # Errors
    /// With the reason in words that tell what to do.
    pub fn admit(
        &self,
        certificate: &PeerCertificate,
        name: &str,
        call: Call,
        now_us: u64,
    ) -> Result<Caller, Denied> {
        let operators = self.0.known.load();
        let known = operators.get(name);
        let role = super::accept(known.map(|known| &known.record), certificate, name, now_us)?;
        if role < call.needs() {
            return Err(Denied::Role {
                name: name.to_owned(),
                has: role,
                call,
                admins: able_admins(&operators, now_us),
            });
        }
        let rights = known.map_or(&self.0.stop, |known| &known.rights);
        Ok(Caller {
            name: name.to_owned(),
            role,
            certificate: certificate.clone(),
            rights: rights.clone(),
        })
    }

    /// Every operator, by name.
    #[must_use]
    pub fn list(&self) -> Vec<OperatorRecord> {
        let operators = self.0.known.load();
        operators
            .values()
            .map(|known| known.record.clone())
            .collect()
    }

    /// The certificate of the mesh's authority, PEM.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        self.0.authority.pem()
    }

    /// Whether the coordinator goes down.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Has the first operator in a store that knows of none, as those of before such records were.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn begin(&self, now_us: u64) -> Result<(), OperatorError> {
        if !self.0.known.load().is_empty() {
            return Ok(());
        }
        self.start_with(super::first(now_us), None).await
    }

    /// Makes the first operator's record say that it is an admin with this certificate, whatever it was.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn let_in_first(&self, issued: &Issued, now_us: u64) -> Result<(), OperatorError> {
        let known = self
            .0
            .known
            .load()
            .get(FIRST)
            .map(|known| known.record.clone());
        let mut record = known.unwrap_or_else(|| super::first(now_us));
        (record.role, record.state) = (OperatorRole::Admin, OperatorState::Active);
        super::certified(&mut record, issued, now_us);
        let deed = Deed::Host(HostDeed::WriteContext);
        let act = Act::new(now_us, HOST, deed, FIRST.to_owned());
        self.start_with(record, Some(act)).await
    }

    /// Before anybody calls. Without room on the disk it counts until the next start, which sees to it again.
    async fn start_with(
        &self,
        record: OperatorRecord,
        act: Option<Act>,
    ) -> Result<(), OperatorError> {
        let operators = self.0.known.load_full();
        let mut writes = vec![Write::Operator(record.clone())];
        writes.extend(act.map(Write::Act));
        match self.0.store.commit(writes).await {
            Ok(()) | Err(StoreError::DiskFull { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.0.publish(&operators, record);
        Ok(())
    }

    /// Makes an operator, with a certificate for the key of a signing request.
    ///
    /// # Errors
    /// When the name is not usable or taken, or the request does not hold.
    pub async fn create(
        &self,
        act: Act,
        name: String,
        role: OperatorRole,
        csr_pem: String,
    ) -> Result<(OperatorRecord, Issued), OperatorError> {
        let by = act.operator.clone();
        self.change(act, move |operators, inner| {
            let now_us = clock::now_us();
            let known = operators.get(&name).map(|known| &known.record);
            if known.is_none() && operators.len() >= OPERATORS {
                return Err(OperatorError::TooMany);
            }
            let mut record = super::created(known, &name, role, &by, now_us)?;
            let issued = inner.issue(name, &csr_pem, now_us)?;
            super::certified(&mut record, &issued, now_us);
            Ok((record.clone(), (record, issued)))
        })
        .await
    }

    /// Makes the caller's next certificate.
    ///
    /// # Errors
    /// When the request does not hold.
    pub async fn renew(
        &self,
        act: Act,
        caller: Caller,
        csr_pem: String,
    ) -> Result<(OperatorRecord, Issued), OperatorError> {
        self.change(act, move |operators, inner| {
            let now_us = clock::now_us();
            let mut record = active(operators, &caller.name)?;
            let issued = inner.issue(caller.name, &csr_pem, now_us)?;
            super::renewed(&mut record, &caller.certificate, &issued, now_us);
            Ok((record.clone(), (record, issued)))
        })
        .await
    }

    /// Gives an operator another role.
    ///
    /// # Errors
    /// When there is none, or no admin would be left.
    pub async fn assign(
        &self,
        act: Act,
        name: String,
        role: OperatorRole,
    ) -> Result<OperatorRecord, OperatorError> {
        self.change(act, move |operators, _| {
            let mut record = active(operators, &name)?;
            if role != OperatorRole::Admin {
                must_leave_an_admin(operators, &record)?;
            }
            record.role = role;
            Ok((record.clone(), record))
        })
        .await
    }

    /// Refuses an operator's certificates from now on.
    ///
    /// # Errors
    /// When there is none, or no admin would be left.
    pub async fn revoke(&self, act: Act, name: String) -> Result<OperatorRecord, OperatorError> {
        self.change(act, move |operators, _| {
            let known = operators.get(&name);
            let known = known.ok_or_else(|| OperatorError::Unknown(name.clone()))?;
            let mut record = known.record.clone();
            must_leave_an_admin(operators, &record)?;
            super::revoke(&mut record);
            Ok((record.clone(), record))
        })
        .await
    }

    /// Writes down an act that changes nothing in the store, before it begins.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn begun(&self, act: Act) -> Result<(), OperatorError> {
        let act = Act {
            outcome: ActOutcome::Begun,
            ..act
        };
        Ok(self.note(act).await?)
    }

    /// The same, of what waits for no disk: those who look for a fault may have one that is full or slow. What
    /// cannot be written down is told in the log of the process alone.
    pub fn begun_meanwhile(&self, act: Act) {
        let registry = self.clone();
        tokio::spawn(async move {
            if let Err(error) = registry.begun(act).await {
                tracing::warn!(%error, "an act was not written down");
            }
        });
    }

    /// Writes down that an act was refused; one that cannot be written down is told in the log of the
    /// process alone.
    pub async fn refused(&self, act: Act, code: Code) {
        let Some(left_out) = self.0.admitted(&act) else {
            return;
        };
        let known = self.0.known.load();
        let role = known.get(&act.operator).map(|known| known.record.role);
        let act = Act {
            role: act.role.or(role),
            outcome: ActOutcome::Refused(format!("{code:?}")),
            left_out,
            ..act
        };
        if let Err(error) = self.note(act).await {
            tracing::warn!(%error, "a refused act was not written down");
        }
    }

    async fn note(&self, act: Act) -> Result<(), StoreError> {
        let noted = self.0.store.commit(vec![Write::Act(act)]).await;
        noted.inspect_err(|error| self.0.fatal.judge(error))
    }

    /// Decides, writes down, and makes known; goes on to its end when nobody waits for it any more.
    async fn change<T: Send + 'static>(
        &self,
        act: Act,
        decide: impl FnOnce(&Operators, &Inner) -> Result<(OperatorRecord, T), OperatorError>
        + Send
        + 'static,
    ) -> Result<T, OperatorError> {
        let inner = Arc::clone(&self.0);
        let changed = tokio::spawn(async move {
            let _alone = inner.changing.lock().await;
            let operators = inner.known.load_full();
            let (record, answer) = decide(&operators, &inner)?;
            let writes = vec![Write::Operator(record.clone()), Write::Act(act)];
            if let Err(error) = inner.store.commit(writes).await {
                inner.fatal.judge(&error);
                return Err(error.into());
            }
            inner.publish(&operators, record);
            Ok(answer)
        });
        changed.await.unwrap_or(Err(OperatorError::Stopping))
    }
}

impl Inner {
    fn issue(&self, name: String, csr_pem: &str, now_us: u64) -> Result<Issued, OperatorError> {
        let identity = Identity::Operator(name);
        let lifetime = **self.lifetime.load();
        let issued = self
            .authority
            .issue_requested(&identity, csr_pem, now_us, lifetime);
        Ok(issued?)
    }

    /// How many refusals were left out before this one, if it is to be written down.
    fn admitted(&self, act: &Act) -> Option<u64> {
        let refusals = self.refusals.lock();
        let mut refusals = refusals.unwrap_or_else(PoisonError::into_inner);
        refusals.admit(&act.operator, act.at_us)
    }

    /// Streams of an operator whose rights are others from here on are over.
    fn publish(&self, operators: &Operators, record: OperatorRecord) {
        let mut next = operators.clone();
        let before = next.get(&record.name);
        let rights = |record: &OperatorRecord| (record.role, record.state);
        let same = before.filter(|before| rights(&before.record) == rights(&record));
        let kept = same.map(|before| before.rights.clone());
        let over = before.map(|before| before.rights.clone());
        let known = Known {
            rights: kept.clone().unwrap_or_else(|| self.stop.child_token()),
            record,
        };
        tracing::info!(
            operator = known.record.name, role = %known.record.role, state = ?known.record.state, "operator"
        );
        next.insert(known.record.name.clone(), known);
        self.known.store(Arc::new(next));
        if let (None, Some(over)) = (kept, over) {
            over.cancel();
        }
    }
}

fn active(operators: &Operators, name: &str) -> Result<OperatorRecord, OperatorError> {
    match operators.get(name).map(|known| &known.record) {
        None => Err(OperatorError::Unknown(name.to_owned())),
        Some(record) if record.state == OperatorState::Revoked => {
            Err(OperatorError::Revoked(name.to_owned()))
        }
        Some(record) => Ok(record.clone()),
    }
}

fn able_admins(operators: &Operators, now_us: u64) -> Vec<String> {
    let records = operators.values().map(|known| &known.record);
    let able = records.filter(|record| super::is_able_admin(record, now_us));
    able.map(|record| record.name.clone()).collect()
}

fn must_leave_an_admin(
    operators: &Operators,
    without: &OperatorRecord,
) -> Result<(), OperatorError> {
    let able = able_admins(operators, clock::now_us());
    match able.as_slice() {
        [last] if *last == without.name => Err(OperatorError::LastAdmin(last.clone())),
        _ => Ok(()),
    }
}

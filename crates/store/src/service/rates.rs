//! Rates of trunks as changes of the site: they are imported apart from `site.toml`, as they are long and come when a
//! provider sends new prices, and are planned, kept in the history and rolled back like everything else.

use std::sync::Arc;

use ringfort_switch::model::{Trunk, TrunkId};
use ringfort_switch::money;

use super::{Service, ServiceError, State};
use crate::site::{Plan, rates};

/// A price list that is imported.
#[derive(Clone, Copy, Debug)]
pub struct RatesFile<'f> {
    /// Its name, for messages.
    pub file: &'f str,
    pub text: &'f str,
    pub currency: Option<&'f str>,
}

impl Service {
    /// What giving a trunk these rates would do (`None`: taking away those it has). A trunk is named as `NAME`, or
    /// `TENANT/NAME` where several tenants have one of that name. Without a currency it stays as it is.
    ///
    /// # Errors
    /// The mistakes of the file, a trunk that is not there, a currency that is not the one of the tenant's other rates.
    pub fn plan_rates(&self, trunk: &str, file: Option<RatesFile<'_>>) -> Result<Plan, ServiceError> {
        let state = self.lock();
        let id = state.trunk_named(trunk)?.id;
        let mut target = state.target();
        match file {
            Some(file) => {
                let currency = state.currency_for(id, file.currency)?;
                let table = rates::parse(file.file, file.text, &currency)?;
                target.lines.rates.insert(id, Arc::new(table));
            }
            None if target.lines.rates.remove(&id).is_none() => {
                return Err(ServiceError::NoRates { name: trunk.to_owned() });
            }
            None => {}
        }
        Ok(state.plan_to(target, 0))
    }

    /// The trunk of that name, as [`Service::plan_rates`] takes it.
    ///
    /// # Errors
    /// [`ServiceError::NoTrunk`].
    pub fn trunk_named(&self, name: &str) -> Result<Trunk, ServiceError> {
        self.lock().trunk_named(name).cloned()
    }
}

impl State {
    fn trunk_named(&self, name: &str) -> Result<&Trunk, ServiceError> {
        let (tenant, bare) = name.split_once('/').map_or((None, name), |(tenant, bare)| (Some(tenant), bare));
        let tenant_name = |trunk: &Trunk| self.tenants.iter().find(|t| t.id == trunk.tenant).map(|t| t.name.as_str());
        let fits = |trunk: &&Trunk| trunk.name == bare && (tenant.is_none() || tenant_name(trunk) == tenant);
        let mut found = self.site.trunks.values().filter(fits);
        let refused = |hint| {
            let names: Vec<&str> = self.site.trunks.values().map(|t| t.name.as_str()).collect();
            let known = if names.is_empty() {
                "a trunk (there is none)".to_owned()
            } else {
                format!("one of {}", names.join(", "))
            };
            Err(ServiceError::NoTrunk { name: name.to_owned(), known, hint })
        };
        match (found.next(), found.next()) {
            (Some(trunk), None) => Ok(trunk),
            (None, _) => refused(""),
            (Some(_), Some(_)) => refused(" alone: several tenants have one, write TENANT/NAME"),
        }
    }

    /// The currency of a trunk's new rates: one for all of a tenant's.
    fn currency_for(&self, id: TrunkId, asked: Option<&str>) -> Result<String, ServiceError> {
        let trunk = &self.site.trunks[&id];
        let name = || trunk.name.clone();
        let of = |id: &TrunkId| self.site.rates.get(id).map(|table| table.currency.as_str());
        let others = self.site.trunks.values().filter(|t| t.tenant == trunk.tenant && t.id != id);
        let other = others.filter_map(|t| of(&t.id).map(|currency| (t, currency))).next();
        let Some(currency) = asked.or(of(&id)).or(other.map(|(_, currency)| currency)) else {
            return Err(ServiceError::NoCurrency { name: name() });
        };
        if !money::is_currency(currency) {
            return Err(ServiceError::NoSuchCurrency { got: currency.to_owned() });
        }
        match other {
            Some((trunk, expected)) if expected != currency => Err(ServiceError::Currency {
                name: name(),
                expected: expected.to_owned(),
                got: currency.to_owned(),
                because: format!("trunk {} of the same tenant has that currency", trunk.name),
            }),
            _ => Ok(currency.to_owned()),
        }
    }
}

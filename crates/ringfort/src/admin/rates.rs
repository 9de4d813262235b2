//! Rates of trunks for operators: importing and exporting them, and what a call to a number costs.

use ringfort_store::{RatesFile, site};
use ringfort_switch::model::{Rate, RateTable, Trunk};
use ringfort_switch::{money, number};
use serde_json::{Value, json};

use super::Admin;

/// Lengths of calls that a look-up tells the cost of.
const EXAMPLES: [(&str, u64); 3] = [("cost_1m", 60), ("cost_3m", 180), ("cost_10m", 600)];

impl Admin {
    pub(super) fn rates_import(
        &self,
        trunk: &str,
        file: Option<(&str, &str)>,
        currency: Option<&str>,
        dry_run: bool,
    ) -> Result<Value, String> {
        let text = file.map(|(file, text)| RatesFile { file, text, currency });
        let plan = self.service.plan_rates(trunk, text).map_err(|error| error.to_string())?;
        let comment = match file {
            Some((file, _)) => format!("rates of trunk {trunk} from {file}"),
            None => format!("no rates for trunk {trunk}"),
        };
        self.planned(plan, dry_run, &comment)
    }

    pub(super) fn rates_export(&self, trunk: &str) -> Result<Value, String> {
        let trunk = self.service.trunk_named(trunk).map_err(|error| error.to_string())?;
        let site = self.service.site();
        let table = site.rates.get(&trunk.id).ok_or_else(|| none(&trunk))?;
        Ok(json!({ "trunk": trunk.name, "currency": table.currency, "text": site::rates::write(table) }))
    }

    /// The tables of all trunks or of one; with a number, the rate that counts for it.
    pub(super) fn rates_show(&self, trunk: Option<&str>, number: Option<&str>) -> Result<Value, String> {
        let site = self.service.site();
        let named = match trunk {
            Some(name) => Some(self.service.trunk_named(name).map_err(|error| error.to_string())?),
            None => None,
        };
        if let Some(trunk) = named.as_ref().filter(|t| !site.rates.contains_key(&t.id)) {
            return Err(none(trunk));
        }
        let mut items = Vec::new();
        for trunk in site.trunks.values().filter(|t| named.as_ref().is_none_or(|named| named.id == t.id)) {
            let table = site.rates.get(&trunk.id);
            items.push(match number {
                Some(number) => self.rate_of(trunk, table.map(|table| &**table), number)?,
                None => summary(trunk, table.map(|table| &**table)),
            });
        }
        if number.is_some() {
            items.sort_by_key(|item| {
                (item["sort"].as_u64().unwrap_or(u64::MAX), item["trunk"].as_str().map(str::to_owned))
            });
            for item in &mut items {
                item.as_object_mut().map(|item| item.remove("sort"));
            }
        }
        Ok(json!({ "number": number, "items": items }))
    }

    /// What a call to a number by a trunk costs.
    fn rate_of(&self, trunk: &Trunk, table: Option<&RateTable>, dialled: &str) -> Result<Value, String> {
        let site = self.service.site();
        let plan = &site.tenants.iter().find(|t| t.id == trunk.tenant).ok_or("its tenant is gone")?.numbers;
        let bare = number::without_separators(dialled);
        let Some(canonical) = number::canonical(plan, &bare) else {
            return Err(format!(
                "{dialled:?}: expected a telephone number, got one that has no form with a country code; write it with + \
                 and the country code, or set `country` of the tenant"
            ));
        };
        let mut item = json!({ "trunk": trunk.name, "number": canonical, "rate": null });
        if let Some((table, rate)) = table.and_then(|table| Some((table, table.rate(&canonical)?))) {
            item["currency"] = json!(table.currency);
            item["rate"] = rate_value(rate);
            item["sort"] = json!(rate.charge(60));
            for (key, seconds) in EXAMPLES {
                item[key] = json!(money::text(rate.charge(seconds)));
            }
        }
        Ok(item)
    }
}

fn rate_value(rate: &Rate) -> Value {
    json!({
        "prefix": rate.prefix,
        "per_minute": money::text(rate.per_minute),
        "connection": money::text(rate.connection),
        "first_s": rate.first_s,
        "step_s": rate.step_s,
    })
}

fn summary(trunk: &Trunk, table: Option<&RateTable>) -> Value {
    let minutes = || table.into_iter().flat_map(|table| &table.rates).map(|rate| rate.per_minute);
    json!({
        "trunk": trunk.name,
        "currency": table.map(|table| &table.currency),
        "prefixes": table.map_or(0, |table| table.rates.len()),
        "cheapest": minutes().min().map(money::text),
        "dearest": minutes().max().map(money::text),
    })
}

fn none(trunk: &Trunk) -> String {
    let name = &trunk.name;
    format!(
        "trunk {name:?}: expected rates, got none; import them: ringfort ctl rates import {name} FILE.csv --currency EUR"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admin::Admin;
    use crate::control::{AdminRequest, Answer};

    const SITE: &str = "[[tenant]]\nname = \"default\"\ncountry = \"44\"\nnational_prefix = \"0\"\n\
                        [[trunk]]\nname = \"a\"\nserver = \"sip:192.0.2.1\"\n[[trunk]]\nname = \"b\"\nserver = \"sip:192.0.2.2\"\n";

    fn ok(admin: &Admin, request: AdminRequest) -> Value {
        match admin.answer(request) {
            Answer::Ok(value) => value,
            Answer::Error(words) => panic!("{words}"),
        }
    }

    fn refused(admin: &Admin, request: AdminRequest) -> String {
        match admin.answer(request) {
            Answer::Ok(value) => panic!("{value}"),
            Answer::Error(words) => words,
        }
    }

    fn import(trunk: &str, text: &str, dry_run: bool) -> AdminRequest {
        AdminRequest::RatesImport {
            trunk: trunk.into(),
            file: "p.csv".into(),
            text: text.into(),
            currency: Some("EUR".into()),
            dry_run,
        }
    }

    #[test]
    fn rates_are_imported_shown_looked_up_exported_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin::offline(dir.path()).unwrap();
        ok(
            &admin,
            AdminRequest::Apply {
                file: "site.toml".into(),
                text: SITE.into(),
                dry_run: false,
                prune: false,
                allow_reach: vec![],
            },
        );
        let show = |trunk: Option<&str>, number: Option<&str>| AdminRequest::RatesShow {
            trunk: trunk.map(str::to_owned),
            number: number.map(str::to_owned),
        };
        assert!(refused(&admin, show(Some("a"), None)).contains("ringfort ctl rates import a FILE.csv"));
        let a = "prefix,per_minute,connection,first_s,step_s\n44,0.02,0.1,60,60\n447,0.05,0,1,1\n";
        let plan = ok(&admin, import("a", a, true));
        assert_eq!((&plan["dry_run"], &plan["changed"]), (&json!(true), &json!(false)));
        assert_eq!(ok(&admin, import("a", a, false))["revision"], 2);
        ok(&admin, import("b", "prefix,per_minute\n44,0.03\n", false));

        let all = ok(&admin, show(None, None));
        assert_eq!(
            all["items"][0],
            json!({ "trunk": "a", "currency": "EUR", "prefixes": 2, "cheapest": "0.02", "dearest": "0.05" })
        );
        let item = ok(&admin, show(Some("a"), Some("07700 900123")))["items"][0].clone();
        assert_eq!((&item["number"], &item["rate"]["prefix"]), (&json!("+447700900123"), &json!("447")));
        let found = ok(&admin, show(None, Some("020 7946 0000")));
        let order: Vec<_> = found["items"].as_array().unwrap().iter().map(|item| item["trunk"].clone()).collect();
        assert_eq!(order, ["b", "a"], "the cheaper first minute first");
        assert_eq!((&found["items"][1]["cost_1m"], &found["items"][1]["cost_3m"]), (&json!("0.12"), &json!("0.16")));
        let abroad = ok(&admin, show(None, Some("+12125550100")));
        assert_eq!((&abroad["items"][0]["rate"], abroad["items"][0].get("cost_1m")), (&Value::Null, None));
        assert!(refused(&admin, show(None, Some("alex"))).contains("expected a telephone number"));

        let text = ok(&admin, AdminRequest::RatesExport { trunk: "a".into() })["text"].as_str().unwrap().to_owned();
        assert_eq!(ok(&admin, import("a", &text, false))["changed"], false);
        assert_eq!(ok(&admin, AdminRequest::RatesDelete { trunk: "a".into() })["changed"], true);
        assert_eq!(ok(&admin, AdminRequest::Rollback { revision: None })["changed"], true);
        assert_eq!(ok(&admin, show(Some("a"), None))["items"][0]["prefixes"], 2);
    }
}

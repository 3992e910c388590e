//! How a session sets its variables, lets go of them, and asks for them.
//!
//! What a reader would get wrong: what the link keeps is noted as changed here, and written down when the connection says so.

use super::{Failure, Message, Outside, Session, Step};
use crate::session::{Json, Pointer, Value, Var, When};

impl Session {
    pub(super) fn extract(&mut self, places: &[(Var, Pointer)], message: &Message<'_>) -> Step {
        for (var, pointer) in places {
            if let Some(value) = message.json().and_then(|document| pointer.first(document)).filter(|it| !it.is_null())
            {
                self.set(*var, value)?;
            }
        }
        Ok(())
    }

    pub(super) fn set_all(&mut self, set: &[(Var, Json)], outside: &mut Outside<'_>) -> Step {
        let mut scene = self.scene(outside);
        let values: Vec<Value> = set.iter().map(|(_, json)| scene.json(json)).collect();
        set.iter().zip(values).try_for_each(|((var, _), value)| self.set(*var, value))
    }

    pub(super) fn set(&mut self, var: Var, value: Value) -> Step {
        self.changed |= self.start.plan.keeps(var);
        let name = self.start.plan.names.name(var);
        // Values that are made for a step have no name of their own.
        if !name.contains(':') {
            self.trace.set(name);
        }
        let set = self.variables.set(var, value);
        set.map_err(|_| Failure::of("overflow", "the variables of the session hold more than 64 KiB"))
    }

    pub(super) fn forget(&mut self, var: Var) {
        self.changed |= self.start.plan.keeps(var);
        self.variables.forget(var);
    }

    pub(super) fn holds(&self, when: Option<When>) -> bool {
        when.is_none_or(|when| self.variables.get(when.var).is_some() == when.is_set)
    }
}

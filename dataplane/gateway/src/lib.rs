//! The cloud end: doors, authentication, routing; it can never grant

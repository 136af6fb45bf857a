//! Journeys, interop, simulation, hostile catalogue and house rules

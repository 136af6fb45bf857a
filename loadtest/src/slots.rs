//! Numbered places for connections: a number is the token by which epoll names one.

/// Values by number; numbers of values that left are given out again.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slots<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> u64 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if let Some(place) = self.places.get_mut(number) {
            *place = Some(value);
        }
        u64::try_from(number).unwrap_or(u64::MAX)
    }

    pub(crate) fn get_mut(&mut self, token: u64) -> Option<&mut T> {
        self.places.get_mut(usize::try_from(token).ok()?)?.as_mut()
    }

    pub(crate) fn remove(&mut self, token: u64) -> Option<T> {
        let number = usize::try_from(token).ok()?;
        let value = self.places.get_mut(number)?.take()?;
        self.free.push(number);
        Some(value)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.places
            .iter_mut()
            .enumerate()
            .filter_map(|(number, place)| Some((u64::try_from(number).ok()?, place.as_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_out_again_once_its_value_left() {
        let mut slots = Slots::new();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_ne!(a, b);
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.insert('c'), a);
        assert_eq!(slots.iter_mut().count(), 2);
        assert_eq!(slots.get_mut(b), Some(&mut 'b'));
    }
}

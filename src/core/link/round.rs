//! In which order a link tries the URLs of its endpoint.
//!
//! What a reader would get wrong: nothing here is drawn by chance. Links of consecutive places begin at consecutive URLs, and those that
//! one URL loses go in equal parts to the others, which chance would do only for very many of them.

/// How the order of the URLs is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UrlOrder {
    /// As they are listed: the first is every link's primary.
    #[default]
    Listed,
    /// Each link has an order of its own, so that all URLs have as many links.
    Shuffle,
}

/// The order in which one link tries URLs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    order: UrlOrder,
    place: u32,
}

impl Round {
    /// The order of the link of this place.
    pub fn new(order: UrlOrder, place: u32) -> Self {
        Self { order, place }
    }

    /// Where it begins: its home, from 0.
    pub fn first(self, urls: usize) -> usize {
        match self.order {
            UrlOrder::Listed => 0,
            UrlOrder::Shuffle => self.place as usize % urls.max(1),
        }
    }

    /// What it tries after this one.
    pub fn after(self, url: usize, urls: usize) -> usize {
        let others = urls.saturating_sub(1);
        if others == 0 {
            return 0;
        }
        match self.order {
            UrlOrder::Listed => (url + 1) % urls,
            UrlOrder::Shuffle => {
                let first = self.first(urls);
                // The others stand in a ring of their own, which is entered at a place of each link's own.
                let entry = self.place as usize / urls % others;
                let nth = |step: usize| (first + 1 + (entry + step) % others) % urls;
                if url == first {
                    return nth(0);
                }
                let at = (url % urls + urls - first - 1) % urls;
                let step = (at + others - entry) % others + 1;
                if step == others { first } else { nth(step) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn tour(round: Round, urls: usize) -> Vec<usize> {
        std::iter::successors(Some(round.first(urls)), |url| Some(round.after(*url, urls))).take(urls).collect()
    }

    #[test]
    fn a_listed_round_is_the_list() {
        assert_eq!(tour(Round::new(UrlOrder::Listed, 7), 3), [0, 1, 2]);
    }

    #[test]
    fn each_round_has_every_url_once_and_begins_again() {
        for (order, urls, place) in [UrlOrder::Listed, UrlOrder::Shuffle]
            .into_iter()
            .flat_map(|order| (1..6).flat_map(move |urls| (0..50).map(move |place| (order, urls, place))))
        {
            let round = Round::new(order, place);
            let tour = tour(round, urls);
            assert_eq!(tour.iter().collect::<BTreeSet<_>>().len(), urls, "{round:?} {tour:?}");
            assert_eq!(round.after(tour[urls - 1], urls), tour[0]);
        }
    }

    #[test]
    fn all_urls_have_as_many_links_and_those_of_one_go_to_the_others_in_equal_parts() {
        for urls in 2..6 {
            let links = u32::try_from(urls * (urls - 1) * 3).unwrap();
            let mut counts = vec![vec![0; urls]; urls];
            for place in 0..links {
                let tour = tour(Round::new(UrlOrder::Shuffle, place), urls);
                counts[tour[0]][tour[1]] += 1;
            }
            for (first, seconds) in counts.iter().enumerate() {
                assert!(seconds.iter().enumerate().all(|(url, count)| *count == if url == first { 0 } else { 3 }));
            }
        }
    }
}

-- In:  the clean snapshot's interactions.parquet and users.parquet; `ranked`, one row a
--      target: split, number (the target's place in its split), rank_full_unseen, rank_full_all, rank_sampled100;
--      targets.parquet of the snapshot whose histories were ranked.
-- Out: one row a target: target, split, user, item, history (length of the history it was ranked with),
--      popularity (training interactions of the target item in the clean log), and its three ranks.
with popularity as (
    select interactions.item, count(*) as popularity
    from read_parquet({clean_interactions}) as interactions
    join read_parquet({clean_users}) as users using (user)
    where interactions.position < users.train_length
    group by interactions.item
),
numbered as (
    select *, row_number() over (partition by split order by target) - 1 as number
    from read_parquet({targets})
)
select
    numbered.target,
    numbered.split,
    numbered.user,
    numbered.item,
    numbered.history,
    coalesce(popularity.popularity, 0)::integer as popularity,
    ranked.rank_full_unseen,
    ranked.rank_full_all,
    ranked.rank_sampled100
from numbered
join ranked using (split, number)
left join popularity using (item)
order by numbered.target

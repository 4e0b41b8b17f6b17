% make models: every claim of README.md, with its control. Exit code 1 if one comes out otherwise.
:- use_module(handshake).
:- use_module(epoch).
:- use_module(link).
:- initialization(main, main).

main :-
    nb_setval(failed, 0), nb_setval(searched, 0),
    forall(claim(Name, Goal, Want), judge(Name, Goal, Want)),
    nb_getval(failed, N), nb_getval(searched, S), statistics(cputime, T),
    current_prolog_flag(version_data, swi(A, B, C, _)),
    format("~d runs of the handshake searched, ~d claims failed, ~1f s, SWI-Prolog ~d.~d.~d~n", [S, N, T, A, B, C]),
    ( N =:= 0 -> true ; halt(1) ).

judge(Name, Goal, Want) :-
    call(Goal, Got),
    ( Got == Want -> Verdict = ok ; Verdict = 'FAILED', nb_getval(failed, N), M is N + 1, nb_setval(failed, M) ),
    format("~w~t~8|~w: ~w~n", [Verdict, Name, Got]),
    ( Got == Want -> true ; format("~t~8|wanted: ~w~n", [Want]) ).

% ---- handshake ----

% breaks(Property, Leaks): the least sets of leaked keys with which a property falls, here for a -> b. Everything else
% holds: more leaks never help a property, so it is enough to search these sets and the largest that contain none.
breaks(secrecy, [ak(b)]).
breaks(secrecy, [d(b), ik(b)]).
breaks(secrecy, [ik(b), pq(b), spk(b)]).
breaks(sender_hidden, Ls) :- breaks(secrecy, Ls).
breaks(responder, Ls) :- breaks(secrecy, Ls).
breaks(forward_secrecy, [ak(b)]).
breaks(forward_secrecy, [d(b)]).
breaks(forward_secrecy, [pq(b), spk(b)]).
breaks(harvest, [ak(b)]).
breaks(harvest, [d(b)]).
breaks(harvest, [pq(b)]).
breaks(sender, [ak(a)]).
breaks(sender, [ik(a)]).
breaks(sender, [spk(b)]).
breaks(owner, [d(a)]).
breaks(prekeys_kept, []). % control: the same theft as in forward_secrecy, prekeys not deleted

keys([ak(a), ak(b), d(a), d(b), ik(a), ik(b), pq(b), spk(b)]).
property(P) :- member(P, [secrecy, sender_hidden, responder, forward_secrecy, harvest, sender, owner]).

expected(Leaks, Broken) :-
    findall(P, ( breaks(P, Ls), subset(Ls, Leaks) ), Ps), sort(Ps, Broken).

% largest sets of leaks that a property survives, and the least that break it
searched(Leaks) :- keys(Ks), property(P), findall(Ls, breaks(P, Ls), Lss), hit(Lss, [], Hs), subtract(Ks, Hs, Leaks).
searched(Leaks) :- breaks(_, Ls), sort(Ls, Leaks).
hit([], Hs, Hs).
hit([Ls|Lss], Hs0, Hs) :- ( member(L, Ls), memberchk(L, Hs0) -> hit(Lss, Hs0, Hs) ; member(L, Ls), hit(Lss, [L|Hs0], Hs) ).

handshake(Opts, Leaks, Roles, Broken) :-
    found(Opts, Leaks, Roles, Broken-N), nb_getval(searched, S), T is S + N, nb_setval(searched, T).

one([init(a, 1, [b, m]), resp(b, 1)]).

% what falls without any leak when one rule of the document is left out
control(no_kem, [harvest, prekeys_kept]).
control(no_sender_dh, [prekeys_kept, sender]).
control(no_bundle_hash, [key_share, prekeys_kept, sender]).
control(no_user_in_bundle, [key_share, prekeys_kept, sender]).
control(no_list, [forward_secrecy, harvest, prekeys_kept, responder, secrecy, sender_hidden]).
control(early, [prekeys_kept, sender]).
control(no_owner, [owner, prekeys_kept]).

claim(leaks(Leaks), handshake(Opts, Leaks, One), Broken) :-
    one(One), setof(Ls, searched(Ls), All), member(Leaks, All), expected(Leaks, Broken),
    length(Leaks, N), ( N > 2 -> Opts = [narrow] ; Opts = [] ).
claim('two initiations, two acceptances', handshake([], [], [init(a, 1, [b]), init(a, 2, [b]), resp(b, 1), resp(b, 2)]), [prekeys_kept]).
claim('also to the attacker''s user', handshake([narrow], [], [init(a, 1, [b, m]), init(a, 2, [b, m]), resp(b, 1)]), [prekeys_kept]).
claim('both sides initiate and accept', handshake([], [], [init(a, 1, [b, m]), init(b, 1, [a]), resp(a, 1), resp(b, 1)]), [prekeys_kept]).
claim('a stolen identity key does not forge others to its owner', handshake([], [ik(b)], One), [prekeys_kept]) :- one(One).
claim(control(Rule), handshake([Rule], [], One), Broken) :- one(One), control(Rule, Broken).
claim(control(no_cache), handshake([no_cache], [], [init(a, 1, [b]), resp(b, 1), resp(b, 2)]), [prekeys_kept, replay]).
claim(control(no_identity_dh), handshake([no_identity_dh], [d(b)], One), [forward_secrecy, harvest, prekeys_kept, responder, secrecy, sender_hidden]) :- one(One).

claim('two senders look the same, to whoever has the keys of both', alike([]), yes).
claim('the same, b''s identity key and prekey leak', alike([ik(b), spk(b)]), yes).
claim('control: b''s secrets open the identity block', alike([ik(b), spk(b), pq(b)]), no).

% ---- one post-quantum epoch: which of the texts 1 to 4 the thief reads ----

claim('epoch: state of b stolen, classical', read([], [root0, rb0]), [1]).
claim('epoch: state of b stolen, discrete logarithms found', read([quantum], [root0, rb0]), [1, 2]).
claim('epoch: control, nothing mixed in', read([quantum, no_mix], [root0, rb0]), [1, 2, 3, 4]).
claim('epoch: the seed is stolen too', read([quantum], [root0, rb0, pq]), [1, 2, 3, 4]).
claim('epoch: the thief answers in its place (stated limit)', read([active], [root0, rb0]), [1, 3]).
claim('epoch: state stolen at the end', read([quantum, later], [rb2, end]), []).
claim('epoch: control, the secret was not erased', read([quantum, later], [root0, rb0, secret]), [1, 2, 3, 4]).

% ---- linking ----

claim('link: secret unknown', result([], []), []).
claim('link: secret leaks after the exchange', result([late], [s]), []).
claim('link: whoever reads the link first (stated limit)', result([], [s]), [foreign_device, foreign_snapshot, snapshot_secret]).
claim('link: control, no MAC on hello and record', result([no_mac], []), [foreign_device]).
claim('link: control, no secret in info', result([no_info], []), [foreign_snapshot]).
claim('link: control, a link that works twice', result([late, used_again], [s]), [foreign_device, snapshot_secret]).

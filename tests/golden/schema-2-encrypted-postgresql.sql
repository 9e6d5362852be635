CREATE TABLE public.audit (
    number bigint NOT NULL,
    "time" bigint NOT NULL,
    actor character varying(255) NOT NULL,
    purpose character varying(255) NOT NULL,
    operation character varying(32) NOT NULL,
    subject_id character varying(255) NOT NULL,
    outcome text NOT NULL,
    hash bytea NOT NULL
);
CREATE TABLE public.changes (
    number bigint NOT NULL,
    operation smallint NOT NULL,
    subject bigint NOT NULL,
    encounter bigint NOT NULL
);
CREATE TABLE public.data_keys (
    number integer NOT NULL,
    wrapped bytea NOT NULL,
    made bigint NOT NULL
);
CREATE TABLE public.encounters (
    key bigint NOT NULL,
    subject bigint NOT NULL,
    encounter_id character varying(255) NOT NULL,
    enrolled bigint
);
CREATE TABLE public.gallery (
    schema_version integer NOT NULL,
    change bigint NOT NULL,
    last_subject bigint NOT NULL,
    last_encounter bigint NOT NULL,
    last_template bigint NOT NULL,
    subjects bigint NOT NULL,
    encounters bigint NOT NULL,
    templates bigint NOT NULL,
    data_key integer DEFAULT 0 NOT NULL,
    reseal_from bigint DEFAULT '0'::bigint NOT NULL,
    audit bigint DEFAULT '0'::bigint NOT NULL,
    audit_hash character varying(64) DEFAULT ''::character varying NOT NULL
);
CREATE TABLE public.import_batches (
    import bigint NOT NULL,
    number bigint NOT NULL,
    "end" bigint NOT NULL,
    read bigint NOT NULL,
    enrolled bigint NOT NULL,
    already_there bigint NOT NULL,
    quarantined bigint NOT NULL,
    templates bigint NOT NULL,
    change bigint NOT NULL,
    sha256 bytea NOT NULL
);
CREATE TABLE public.imports (
    key bigint NOT NULL,
    source text NOT NULL,
    fingerprint character varying(64),
    started character varying(32) NOT NULL,
    finished character varying(32),
    "end" bigint NOT NULL,
    batches bigint NOT NULL,
    released bigint NOT NULL
);
CREATE TABLE public.kept (
    key bigint NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.labels (
    subject bigint NOT NULL,
    label character varying(255) NOT NULL
);
CREATE TABLE public.quarantine (
    key bigint NOT NULL,
    import bigint NOT NULL,
    sha256 bytea NOT NULL,
    reason text NOT NULL,
    subject_id text NOT NULL,
    encounter_id text NOT NULL,
    "end" bigint NOT NULL,
    fault text,
    labels text NOT NULL
);
CREATE TABLE public.quarantined_samples (
    record bigint NOT NULL,
    number integer NOT NULL,
    place text NOT NULL,
    "position" text NOT NULL,
    is_text boolean,
    kept bigint NOT NULL
);
CREATE TABLE public.settings (
    name character varying(255) NOT NULL,
    content text NOT NULL
);
CREATE TABLE public.subjects (
    key bigint NOT NULL,
    subject_id character varying(255) NOT NULL,
    templates integer DEFAULT 0 NOT NULL,
    level smallint DEFAULT '0'::smallint NOT NULL,
    status smallint DEFAULT '0'::smallint NOT NULL,
    status_reason character varying(255) DEFAULT ''::character varying NOT NULL,
    status_time bigint
);
CREATE TABLE public.templates (
    key bigint NOT NULL,
    encounter bigint NOT NULL,
    "position" smallint NOT NULL,
    data bytea NOT NULL
);
INSERT INTO public.audit VALUES (1, 1795950425419451, '', '', 'enroll', '079203001234', 'encounter 1', '\xefd509e15fd8ca695d8389596c27a691c45f2046c6876fa5de99f70cb8664c32');
INSERT INTO public.audit VALUES (2, 1795950425438314, '', '', 'enroll', 'Đặng Văn Lâm', 'encounter 2024-01-31', '\x6318ca7922d9859d5e84e8dcf636331f937ec5ef1bb458e653912801ab71007a');
INSERT INTO public.audit VALUES (3, 1795950425449715, '', '', 'enroll', '079203001234', 'encounter renewal', '\x6571f85d987f38401c439fb5544367a5692d5db133bb7fc419ac04626a1d65db');
INSERT INTO public.audit VALUES (4, 1795950425467420, '', '', 'enroll', 'gone', 'encounter 1', '\x7a884a07ebf339f4b81f34c1b75d7adf30824bd85a00c6de567aa8d16ef954ba');
INSERT INTO public.audit VALUES (5, 1795950425472623, '', '', 'remove', 'gone', 'subject', '\xb15cc604552a4f6c6249dbe79fcd92154d8ef55fcd2e53d6b870a17094a5fda5');
INSERT INTO public.audit VALUES (6, 1795950425484235, '', '', 'enroll', 'zz', 'encounter 1', '\x8e4683493d723a0dc0381e8c7f4aede18c36e029a2c2947b3882d50a89d8c169');
INSERT INTO public.audit VALUES (7, 1795950425499449, '', '', 'enroll', 'AA', 'encounter 1', '\xaa85b4646347667818ea995872f5ac7f43f4e63d510f20554bcafa01ad54a1c5');
INSERT INTO public.audit VALUES (8, 1795950425502910, '', '', 'set_status', 'zz', 'locked: card lost', '\xf22c13dd7eb1848d5679c02f782bf33012d6fa998e8c769f99fd922df7b2d9e5');
INSERT INTO public.audit VALUES (9, 1795950425523648, '', '', 'set_calibration', '', 'minutiae', '\xafc02c686435c62f001a86ad413176e0a78c08093495634b8b600d67da899e02');
INSERT INTO public.audit VALUES (10, 1795950425532381, '', '', 'new_data_key', '', 'data key 2', '\xbe1a40ca36dce684177f2baa05e19b79c3268d849a5a39b0e121f0f359de50a1');
INSERT INTO public.audit VALUES (11, 1795950425551686, '', '', 'reseal', '', 'by data key 2', '\x6c2dd0fc1bb8ed2a25010d89176d34aa66a43de4969897556dc9c58c076ab812');
INSERT INTO public.changes VALUES (1, 1, 1, 1);
INSERT INTO public.changes VALUES (2, 1, 2, 2);
INSERT INTO public.changes VALUES (3, 1, 1, 3);
INSERT INTO public.changes VALUES (4, 1, 3, 4);
INSERT INTO public.changes VALUES (5, 2, 3, 4);
INSERT INTO public.changes VALUES (6, 1, 4, 5);
INSERT INTO public.changes VALUES (7, 1, 5, 6);
INSERT INTO public.data_keys VALUES (2, '\x4524d311347babf8f9164d591b489e14fc1a876fe0e80cd10006d15e3548ec2337ed720238561d580bfcfa4649a27565a3e7a7cd0d83469305badbdc', 1795950425532381);
INSERT INTO public.encounters VALUES (1, 1, '1', 1795950425419451);
INSERT INTO public.encounters VALUES (2, 2, '2024-01-31', 1795950425438314);
INSERT INTO public.encounters VALUES (3, 1, 'renewal', 1795950425449715);
INSERT INTO public.encounters VALUES (5, 4, '1', 1795950425484235);
INSERT INTO public.encounters VALUES (6, 5, '1', 1795950425499449);
INSERT INTO public.gallery VALUES (2, 7, 5, 6, 8, 4, 5, 7, 2, 0, 11, '6c2dd0fc1bb8ed2a25010d89176d34aa66a43de4969897556dc9c58c076ab812');
INSERT INTO public.import_batches VALUES (1, 1, 2, 2, 0, 1, 1, 0, 7, '\xd82d6871eb7d0c2808b8aaf12b484537ff186645067ee430b271e73372d6f1dd');
INSERT INTO public.imports VALUES (1, '/tmp/tmpzxz6v20n/in', 'a7c696f93cf2d46d7bd25ab39285d8faea7400bad3d4bca7505a04dc473bc1d9', '2026-11-29T11:07:05+00:00', '2026-11-29T11:07:05+00:00', 2, 1, 0);
INSERT INTO public.kept VALUES (1, '\x01ab49450000000281a1e96eca98b623026600150b11b327d2bf743531b697ad693153d9415c556e2a534cb4ed6d45');
INSERT INTO public.labels VALUES (1, 'north');
INSERT INTO public.labels VALUES (2, 'north');
INSERT INTO public.labels VALUES (2, 'south');
INSERT INTO public.quarantine VALUES (1, 1, '\x7a41705bbeb217c784debbc1ba1d009d669b60a8a9e5a066466b4e02693ce372', 'bad_1.abis: byte 0: begins with b''no templ'', as no supported format does', '"bad"', '"1"', 2, NULL, '[]');
INSERT INTO public.quarantined_samples VALUES (1, 0, 'bad_1.abis', 'null', false, 1);
INSERT INTO public.settings VALUES ('calibration:minutiae', '{
  "format": "abis calibration",
  "version": 2,
  "kind": "minutiae",
  "slope": 0.8535785318952165,
  "offset": 0.9652496696834256,
  "minimum": -1.752518885758831,
  "maximum": 8.724964949502349,
  "non_mated": {
    "start": -113,
    "rates": [1.0, 1.0, 0.958507, 0.73941, 0.560417, 0.451129, 0.380165, 0.331511, 0.296181, 0.269575, 0.246962, 0.229731, 0.215105, 0.201606, 0.192058, 0.181945, 0.173395, 0.165452, 0.158551, 0.152474, 0.14757, 0.142665, 0.136589, 0.13112, 0.127344, 0.123047, 0.118577, 0.114844, 0.110895, 0.107162, 0.104167, 0.100825, 0.0979167, 0.0949219, 0.0920573, 0.0890626, 0.0866754, 0.0841146, 0.0821615, 0.0802952, 0.077691, 0.0753039, 0.0733507, 0.071658, 0.0695313, 0.0672744, 0.0655816, 0.0631511, 0.0617622, 0.0600695, 0.058507, 0.0570747, 0.0555556, 0.0543837, 0.0530816, 0.0514323, 0.0501737, 0.0487848, 0.0470053, 0.04579, 0.0448785, 0.0434462, 0.0424046, 0.0413629, 0.0401042, 0.0386285, 0.0373264, 0.0360244, 0.0348525, 0.033724, 0.0327691, 0.0317275, 0.0308594, 0.029948, 0.0291667, 0.0282987, 0.0273004, 0.0265191, 0.0256077, 0.0250435, 0.0243056, 0.0232639, 0.0226997, 0.0217014, 0.0209636, 0.0203994, 0.0198785, 0.0194011, 0.0187066, 0.0180556, 0.0176216, 0.0171875, 0.0165799, 0.0157553, 0.0152778, 0.0146702, 0.0143664, 0.0137587, 0.0132813, 0.0128907, 0.0122396, 0.0118056, 0.0112848, 0.0108507, 0.0105035, 0.0102431, 0.0100695, 0.00980903, 0.00963542, 0.0093316, 0.00902778, 0.00859375, 0.00820313, 0.00794271, 0.0078125, 0.00759549, 0.00733507, 0.00703126, 0.00677084, 0.00651042, 0.0062066, 0.0061198, 0.00590278, 0.00568577, 0.00551216, 0.00529514, 0.00503473, 0.00490452, 0.00473091, 0.0046875, 0.0046007, 0.00438369, 0.00429688, 0.00407987, 0.00394966, 0.00390625, 0.00368924, 0.00364584, 0.00342882, 0.00325521, 0.0030816, 0.00295139, 0.00282119, 0.00260417, 0.00247396, 0.00234376, 0.00221355, 0.00221355, 0.00221355, 0.00217014, 0.00208334, 0.00208334, 0.00208334, 0.00203994, 0.00199653, 0.00182292, 0.00182292, 0.00177952, 0.00169271, 0.00169271, 0.0015625, 0.00138889, 0.00138889, 0.00130209, 0.00117188, 0.00113176, 0.00113176, 0.00113176, 0.00113176, 0.00113176, 0.00113176, 0.00113176, 0.00108943, 0.00104902, 0.00101323, 0.000982103, 0.000946547, 0.000912262, 0.000881428, 0.000854363, 0.000824874, 0.000796406, 0.000768923, 0.000742392, 0.00071678, 0.000692053, 0.000668182, 0.000645137, 0.00062289, 0.000601634, 0.000581965, 0.000562942, 0.000544542, 0.000526745, 0.000509531, 0.000492882, 0.000476778, 0.000461252, 0.000447019, 0.000433426, 0.000420248, 0.000407472, 0.000395084, 0.000383075, 0.000371431, 0.000360143, 0.000349198, 0.000338586, 0.000328298, 0.000318323, 0.000308652, 0.000299276, 0.000290184, 0.000280525, 0.000270788, 0.000262218, 0.000254124, 0.00024628, 0.000238679, 0.000231313, 0.00022408, 0.000216507, 0.000209191, 0.000202122, 0.000195293, 0.000189609, 0.000184217, 0.000178991, 0.000173468, 0.000167996, 0.000162699, 0.000157448, 0.000152226, 0.000147274, 0.00014271, 0.000137959, 0.000133367, 0.000128928, 0.000124636, 0.000120488, 0.000116478, 0.000112602, 0.000109398, 0.00010631, 0.000102937, 9.9569e-05, 9.6312e-05, 9.34123e-05, 9.0691e-05, 8.7694e-05, 8.50389e-05, 8.28561e-05, 8.06123e-05, 7.81518e-05, 7.57115e-05, 7.32784e-05, 7.08026e-05, 6.84105e-05, 6.60993e-05, 6.38662e-05, 6.17087e-05, 5.96241e-05, 5.78463e-05, 5.6152e-05, 5.45504e-05, 5.31302e-05, 5.17492e-05, 5.01833e-05, 4.86249e-05, 4.71155e-05, 4.56535e-05, 4.43144e-05, 4.30278e-05, 4.18338e-05, 4.08068e-05, 3.98079e-05, 3.88362e-05, 3.76406e-05, 3.64817e-05, 3.5357e-05, 3.42177e-05, 3.31151e-05, 3.20986e-05, 3.11766e-05, 3.02404e-05, 2.93094e-05, 2.85132e-05, 2.77536e-05, 2.69602e-05, 2.61902e-05, 2.55855e-05, 2.50301e-05, 2.42881e-05, 2.35125e-05, 2.27617e-05, 2.20348e-05, 2.13986e-05, 2.0792e-05, 2.02032e-05, 1.96833e-05, 1.92079e-05, 1.87398e-05, 1.81723e-05, 1.76221e-05, 1.70885e-05, 1.65711e-05, 1.60707e-05, 1.56194e-05, 1.51812e-05, 1.47557e-05, 1.43424e-05, 1.39412e-05, 1.35515e-05, 1.32264e-05, 1.29311e-05, 1.26432e-05, 1.23248e-05, 1.19488e-05, 1.15843e-05, 1.12309e-05, 1.09618e-05, 1.06186e-05, 1.02862e-05, 9.96412e-06, 9.6633e-06, 9.39638e-06, 9.13707e-06, 8.88514e-06, 8.64038e-06, 8.42715e-06, 8.25257e-06, 8.08207e-06, 7.91554e-06, 7.75289e-06, 7.59401e-06, 7.43881e-06, 7.28719e-06, 7.06752e-06, 6.84664e-06, 6.63266e-06, 6.47969e-06, 6.33995e-06, 6.18339e-06, 6.00041e-06, 5.82286e-06, 5.65057e-06, 5.48338e-06, 5.32115e-06, 5.16373e-06, 5.01098e-06, 4.86275e-06, 4.71891e-06, 4.57934e-06, 4.4439e-06, 4.31248e-06, 4.18494e-06, 4.06119e-06, 3.9411e-06, 3.84527e-06, 3.75669e-06, 3.67032e-06, 3.58611e-06, 3.50399e-06, 3.42391e-06, 3.34581e-06, 3.26964e-06, 3.19535e-06, 3.12289e-06, 3.05221e-06, 2.98326e-06, 2.916e-06, 2.85038e-06, 2.78637e-06, 2.72391e-06, 2.66297e-06, 2.60139e-06, 2.52157e-06, 2.4442e-06, 2.36921e-06, 2.29651e-06, 2.22604e-06, 2.16504e-06, 2.11583e-06, 2.06782e-06, 2.02098e-06, 1.97528e-06, 1.93068e-06, 1.88716e-06, 1.8447e-06, 1.80326e-06, 1.76281e-06, 1.72903e-06, 1.69899e-06, 1.66954e-06, 1.64067e-06, 1.61238e-06, 1.58463e-06, 1.55744e-06, 1.53077e-06, 1.50462e-06, 1.47898e-06, 1.45384e-06, 1.42919e-06, 1.40501e-06, 1.3774e-06, 1.3483e-06, 1.31987e-06, 1.29209e-06, 1.26494e-06, 1.23841e-06, 1.20987e-06, 1.17562e-06, 1.14235e-06, 1.12118e-06, 1.10044e-06, 1.08012e-06, 1.06022e-06, 1.04073e-06, 1.02163e-06, 1.00291e-06, 9.79119e-07, 9.55384e-07, 9.32247e-07, 9.09695e-07, 8.8771e-07, 8.66279e-07, 8.45387e-07, 8.2502e-07, 8.05164e-07, 7.85805e-07, 7.66931e-07, 7.4853e-07, 7.30588e-07, 7.13094e-07, 6.98654e-07, 6.85024e-07, 6.71682e-07, 6.58622e-07, 6.45837e-07, 6.33321e-07, 6.21069e-07, 6.08585e-07, 5.94792e-07, 5.81326e-07, 5.6818e-07, 5.55344e-07, 5.42813e-07, 5.30578e-07, 5.18631e-07, 5.06966e-07, 4.95576e-07, 4.84454e-07, 4.73593e-07, 4.62987e-07, 4.52629e-07, 4.42514e-07, 4.32636e-07, 4.22989e-07, 4.13566e-07, 4.04364e-07, 3.95375e-07, 3.86596e-07, 3.78021e-07, 3.69717e-07, 3.62316e-07, 3.55074e-07, 3.47986e-07, 3.4105e-07, 3.34262e-07, 3.27618e-07, 3.21115e-07, 3.1475e-07, 3.0852e-07, 3.02422e-07, 2.96453e-07, 2.90609e-07, 2.84889e-07, 2.79289e-07, 2.73806e-07, 2.68439e-07, 2.63184e-07, 2.58039e-07, 2.53001e-07, 2.48068e-07, 2.43238e-07, 2.38509e-07, 2.33877e-07, 2.29342e-07, 2.249e-07, 2.20551e-07, 2.16291e-07, 2.12119e-07, 2.08032e-07, 2.0403e-07, 2.0011e-07, 1.9627e-07, 1.92509e-07, 1.88825e-07, 1.85216e-07, 1.8168e-07, 1.78217e-07, 1.74824e-07, 1.71499e-07, 1.68242e-07, 1.65051e-07, 1.61925e-07, 1.58861e-07, 1.55859e-07, 1.52918e-07, 1.50036e-07, 1.47211e-07, 1.44443e-07, 1.41731e-07, 1.39073e-07, 1.36468e-07, 1.33914e-07, 1.31412e-07, 1.28959e-07, 1.26555e-07, 1.24198e-07, 1.21889e-07, 1.19624e-07, 1.17405e-07, 1.15229e-07, 1.13096e-07, 1.11005e-07, 1.08955e-07, 1.06945e-07, 1.04974e-07, 1.03042e-07, 1.01148e-07, 9.92901e-08, 9.74688e-08, 9.56829e-08, 9.39316e-08, 9.22142e-08, 9.05301e-08, 8.88785e-08, 8.72588e-08, 8.57178e-08, 8.43403e-08, 8.29867e-08, 8.16566e-08, 8.03495e-08, 7.9065e-08, 7.78027e-08, 7.65621e-08, 7.53428e-08, 7.41444e-08, 7.29666e-08, 7.18089e-08, 7.06709e-08, 6.95523e-08, 6.84528e-08, 6.73718e-08, 6.63092e-08, 6.52646e-08, 6.42376e-08, 6.31731e-08, 6.19221e-08, 6.06965e-08, 5.94957e-08, 5.83193e-08, 5.71666e-08, 5.60373e-08, 5.49308e-08, 5.38465e-08, 5.27841e-08, 5.17431e-08, 5.0723e-08, 4.97233e-08, 4.87436e-08, 4.77836e-08, 4.68427e-08, 4.59206e-08, 4.50169e-08, 4.41312e-08, 4.3263e-08, 4.24121e-08, 4.16467e-08, 4.0913e-08, 4.01925e-08, 3.9485e-08, 3.87901e-08, 3.81077e-08, 3.74374e-08, 3.67791e-08, 3.61325e-08, 3.54974e-08, 3.48735e-08, 3.42606e-08, 3.36585e-08, 3.30669e-08, 3.24857e-08, 3.19147e-08, 3.13536e-08, 3.08022e-08, 3.02604e-08, 2.97279e-08, 2.92045e-08, 2.86901e-08, 2.81845e-08, 2.76875e-08, 2.71989e-08, 2.67185e-08, 2.62462e-08, 2.57817e-08, 2.5325e-08, 2.48758e-08, 2.44341e-08, 2.39995e-08, 2.3572e-08, 2.31514e-08, 2.27375e-08, 2.23303e-08, 2.19294e-08, 2.15349e-08, 2.11464e-08, 2.0764e-08, 2.03873e-08, 2.00163e-08, 1.96509e-08, 1.92908e-08, 1.89359e-08, 1.8586e-08, 1.82411e-08, 1.79009e-08, 1.75653e-08, 1.72341e-08, 1.69071e-08, 1.65843e-08, 1.62653e-08, 1.59501e-08, 1.56385e-08, 1.53302e-08, 1.5025e-08, 1.47228e-08, 1.44233e-08, 1.41263e-08, 1.38315e-08, 1.35387e-08, 1.32476e-08, 1.29578e-08, 1.26691e-08, 1.2381e-08, 1.20931e-08, 1.18051e-08, 1.15163e-08, 1.12261e-08, 1.09341e-08, 1.06393e-08, 1.0341e-08, 1.00382e-08, 9.72971e-09, 9.41422e-09, 9.09013e-09, 8.73919e-09, 8.36647e-09, 7.97818e-09, 7.57089e-09, 7.14037e-09, 6.68138e-09, 6.18741e-09, 5.65032e-09, 5.05999e-09, 4.40424e-09, 3.66939e-09, 2.84364e-09, 1.92914e-09, 9.89424e-10, 2.71245e-10, 2.44648e-11, 2.44648e-11],
    "counted": 0.0008680555555555555,
    "pairs": 202176
  },
  "provenance": {
    "data": [
      "mindtct fvc2002_db1_b",
      "mindtct fvc2002_db2_b",
      "mindtct fvc2002_db3_b",
      "mindtct fvc2002_db4_b",
      "mindtct fvc2004_db1_b",
      "mindtct fvc2004_db2_b",
      "mindtct fvc2004_db3_b",
      "mindtct fvc2004_db4_b"
    ],
    "mated": 2240,
    "non_mated": 23040,
    "date": "2026-11-24",
    "software": "abis 0.1.0",
    "script": "benchmarks/fit_calibration.py"
  }
}
');
INSERT INTO public.subjects VALUES (2, 'Đặng Văn Lâm', 1, 2, 0, '', NULL);
INSERT INTO public.subjects VALUES (1, '079203001234', 4, 0, 0, '', NULL);
INSERT INTO public.subjects VALUES (5, 'AA', 1, 0, 0, '', NULL);
INSERT INTO public.subjects VALUES (4, 'zz', 1, 0, 1, 'card lost', 1795950425502910);
INSERT INTO public.templates VALUES (1, 1, 2, '\xab49450000000268ac21bfa451a9cb141acce55d9a4f3a2badb25bddac1e68cbd5db54a5115054582857493e0ea0c166e06b67a08f71bf7d3c429ade59373dc62a7b579dbfbebb84');
INSERT INTO public.templates VALUES (2, 1, 7, '\xab49450000000232627873d53a374c8360e94449ba7ef4be9990bfae0c183a37a3592af35d31915716325b5089a0a65b5b157f11f008502cc8604b9ac8cd343683a12a9dd246d7b5');
INSERT INTO public.templates VALUES (3, 1, 32, '\xab494500000002e9a6aa122c92835a1dc72e1f75f9e2c5b51f282e497756a6fec689013f343fabe2ea5ea73f61c2f963314cb468d628717f09a01878ebedfcf9b00f');
INSERT INTO public.templates VALUES (4, 2, 32, '\xab494500000002becc8e5085460b980f0982bcb9837f04444ca49b8a8ae243bf18a9dc43d62fe2e27304466245e7ea99fe987101106c465e23eeb0bfc05929dfdd86');
INSERT INTO public.templates VALUES (5, 3, 32, '\xab4945000000027a1adc006a75f5422b7dbd38c103b9ae863a62f3118ce1c3700b1c8d7f8f5926561629ee521fe5951c6e0ec1cab3d996ae92a48dedecf17d02dd65');
INSERT INTO public.templates VALUES (7, 5, 32, '\xab4945000000020837abbbfb9d968cb5adc9c8c4b4290aab281dac6dba7969f1b77df4c1104498d6542c87e83c89214ce918bb805c77370b4e48789ce58870df5d3e');
INSERT INTO public.templates VALUES (8, 6, 32, '\xab49450000000209f2795df3d4d0fdbf5295a65505aef3b94c92396c7746bab4a8124a471d60725241175f1ef1016c9ecc06bb3fb8bc740409f13896579ec921ac1d');
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.data_keys
    ADD CONSTRAINT data_keys_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.encounters
    ADD CONSTRAINT encounters_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.encounters
    ADD CONSTRAINT encounters_subject_encounter_id_key UNIQUE (subject, encounter_id);
ALTER TABLE ONLY public.import_batches
    ADD CONSTRAINT import_batches_pkey PRIMARY KEY (import, number);
ALTER TABLE ONLY public.imports
    ADD CONSTRAINT imports_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.kept
    ADD CONSTRAINT kept_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (subject, label);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_sha256_key UNIQUE (sha256);
ALTER TABLE ONLY public.quarantined_samples
    ADD CONSTRAINT quarantined_samples_pkey PRIMARY KEY (record, number);
ALTER TABLE ONLY public.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT subjects_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT subjects_subject_id_key UNIQUE (subject_id);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_pkey PRIMARY KEY (key);
CREATE INDEX labels_by_label ON public.labels USING btree (label, subject);
CREATE INDEX templates_by_encounter ON public.templates USING btree (encounter, "position");
ALTER TABLE ONLY public.encounters
    ADD CONSTRAINT encounters_subject_fkey FOREIGN KEY (subject) REFERENCES public.subjects(key);
ALTER TABLE ONLY public.import_batches
    ADD CONSTRAINT import_batches_import_fkey FOREIGN KEY (import) REFERENCES public.imports(key);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_subject_fkey FOREIGN KEY (subject) REFERENCES public.subjects(key);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_import_fkey FOREIGN KEY (import) REFERENCES public.imports(key);
ALTER TABLE ONLY public.quarantined_samples
    ADD CONSTRAINT quarantined_samples_record_fkey FOREIGN KEY (record) REFERENCES public.quarantine(key);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_encounter_fkey FOREIGN KEY (encounter) REFERENCES public.encounters(key);

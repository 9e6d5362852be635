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
CREATE TABLE public.kept (
    key bigint NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.labels (
    subject bigint NOT NULL,
    label character varying(255) NOT NULL
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
INSERT INTO public.audit VALUES (1, 1795858754364663, '', '', 'enroll', '079203001234', 'encounter 1', '\x2d15acab42bef5808dda375fe8e85c393e518d85871a06361fefeea1681c3027');
INSERT INTO public.audit VALUES (2, 1795858754454727, '', '', 'enroll', 'Đặng Văn Lâm', 'encounter 2024-01-31', '\x60a2c8ceb1389bbd3aa3ac6ebc7907f2e8fee488f278f2c4228ffac0427ef807');
INSERT INTO public.audit VALUES (3, 1795858754511344, '', '', 'enroll', '079203001234', 'encounter renewal', '\x632363a2a361c2338a3cd427384ffb4054b4132d40f03f46f2e044c92784b06f');
INSERT INTO public.audit VALUES (4, 1795858754563732, '', '', 'enroll', 'gone', 'encounter 1', '\x18c41fb295886e41088f2c0e04cd5ccff180848cdfabca5fb3458c0dfb1e07a4');
INSERT INTO public.audit VALUES (5, 1795858754589579, '', '', 'remove', 'gone', 'subject', '\x5292d3b731f89b7fc6fe0ef0c5f7764f86a3c0761c20b427ba2f6fa037d22432');
INSERT INTO public.audit VALUES (6, 1795858754665761, '', '', 'enroll', 'zz', 'encounter 1', '\xaa3811b019c0bd97bfdf480bde4f7f9b6126d4d4ad9b8470ec04adc4babe081c');
INSERT INTO public.audit VALUES (7, 1795858754690006, '', '', 'enroll', 'AA', 'encounter 1', '\x2d7dec5c1db32ed68078a395c3f182121b2b4ad5e284c4ec3dda28640c5f2daa');
INSERT INTO public.audit VALUES (8, 1795858754717977, '', '', 'set_status', 'zz', 'locked: card lost', '\x4635b359a0a16743c9c80b02f2c230fbdf5ae049cfa6907f516eec2ef1d69e32');
INSERT INTO public.changes VALUES (1, 1, 1, 1);
INSERT INTO public.changes VALUES (2, 1, 2, 2);
INSERT INTO public.changes VALUES (3, 1, 1, 3);
INSERT INTO public.changes VALUES (4, 1, 3, 4);
INSERT INTO public.changes VALUES (5, 2, 3, 4);
INSERT INTO public.changes VALUES (6, 1, 4, 5);
INSERT INTO public.changes VALUES (7, 1, 5, 6);
INSERT INTO public.encounters VALUES (1, 1, '1', 1795858754364663);
INSERT INTO public.encounters VALUES (2, 2, '2024-01-31', 1795858754454727);
INSERT INTO public.encounters VALUES (3, 1, 'renewal', 1795858754511344);
INSERT INTO public.encounters VALUES (5, 4, '1', 1795858754665761);
INSERT INTO public.encounters VALUES (6, 5, '1', 1795858754690006);
INSERT INTO public.gallery VALUES (2, 7, 5, 6, 8, 4, 5, 7, 0, 0, 8, '4635b359a0a16743c9c80b02f2c230fbdf5ae049cfa6907f516eec2ef1d69e32');
INSERT INTO public.labels VALUES (1, 'north');
INSERT INTO public.labels VALUES (2, 'north');
INSERT INTO public.labels VALUES (2, 'south');
INSERT INTO public.subjects VALUES (2, 'Đặng Văn Lâm', 1, 2, 0, '', NULL);
INSERT INTO public.subjects VALUES (1, '079203001234', 4, 2, 0, '', NULL);
INSERT INTO public.subjects VALUES (5, 'AA', 1, 0, 0, '', NULL);
INSERT INTO public.subjects VALUES (4, 'zz', 1, 0, 1, 'card lost', 1795858754717977);
INSERT INTO public.templates VALUES (1, 1, 2, '\xab49530101020064006400c500c5ff03000a0014ff0b40003c0050ff21c00047001eff05b08b0e20cd');
INSERT INTO public.templates VALUES (2, 1, 7, '\xab49530101070064006400c500c5ff0300140014ff0b40003c0050ff21c00048001eff05b07e558cfc');
INSERT INTO public.templates VALUES (3, 1, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cdba6600000000f2ab94ac');
INSERT INTO public.templates VALUES (4, 2, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cd3a6600000000c9449cbe');
INSERT INTO public.templates VALUES (5, 3, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cdba660000000008e5563e');
INSERT INTO public.templates VALUES (7, 5, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cd3a6600000000b7fa7bb3');
INSERT INTO public.templates VALUES (8, 6, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cdba66000000001a7cc561');
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
ALTER TABLE ONLY public.kept
    ADD CONSTRAINT kept_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (subject, label);
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
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_subject_fkey FOREIGN KEY (subject) REFERENCES public.subjects(key);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_encounter_fkey FOREIGN KEY (encounter) REFERENCES public.encounters(key);

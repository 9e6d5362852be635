CREATE TABLE public.changes (
    number bigint NOT NULL,
    operation smallint NOT NULL,
    subject bigint NOT NULL,
    encounter bigint NOT NULL
);
CREATE TABLE public.encounters (
    key bigint NOT NULL,
    subject bigint NOT NULL,
    encounter_id character varying(255) NOT NULL
);
CREATE TABLE public.gallery (
    schema_version integer NOT NULL,
    change bigint NOT NULL,
    last_subject bigint NOT NULL,
    last_encounter bigint NOT NULL,
    last_template bigint NOT NULL,
    subjects bigint NOT NULL,
    encounters bigint NOT NULL,
    templates bigint NOT NULL
);
CREATE TABLE public.subjects (
    key bigint NOT NULL,
    subject_id character varying(255) NOT NULL
);
CREATE TABLE public.templates (
    key bigint NOT NULL,
    encounter bigint NOT NULL,
    "position" smallint NOT NULL,
    data bytea NOT NULL
);
INSERT INTO public.changes VALUES (1, 1, 1, 1);
INSERT INTO public.changes VALUES (2, 1, 2, 2);
INSERT INTO public.changes VALUES (3, 1, 3, 3);
INSERT INTO public.changes VALUES (4, 1, 1, 4);
INSERT INTO public.changes VALUES (5, 2, 2, 2);
INSERT INTO public.encounters VALUES (1, 1, '1');
INSERT INTO public.encounters VALUES (3, 3, '2024-01-31');
INSERT INTO public.encounters VALUES (4, 1, 'renewal');
INSERT INTO public.gallery VALUES (1, 5, 3, 4, 6, 2, 3, 5);
INSERT INTO public.subjects VALUES (1, '079203001234');
INSERT INTO public.subjects VALUES (3, 'Đặng Văn Lâm');
INSERT INTO public.templates VALUES (1, 1, 2, '\xab49530101020064006400c500c5ff03000a0014ff0b40003c0050ff21c00047001eff05b0');
INSERT INTO public.templates VALUES (2, 1, 7, '\xab49530101070064006400c500c5ff0300140014ff0b40003c0050ff21c00048001eff05b0');
INSERT INTO public.templates VALUES (3, 1, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cdba6600000000');
INSERT INTO public.templates VALUES (5, 3, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cd3a6600000000');
INSERT INTO public.templates VALUES (6, 4, 32, '\xab49530103207ff8000000000000000406676f6c64656e38cdba6600000000');
ALTER TABLE ONLY public.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.encounters
    ADD CONSTRAINT encounters_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.encounters
    ADD CONSTRAINT encounters_subject_encounter_id_key UNIQUE (subject, encounter_id);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT subjects_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.subjects
    ADD CONSTRAINT subjects_subject_id_key UNIQUE (subject_id);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_pkey PRIMARY KEY (key);
CREATE INDEX templates_by_encounter ON public.templates USING btree (encounter, "position");
ALTER TABLE ONLY public.encounters
    ADD CONSTRAINT encounters_subject_fkey FOREIGN KEY (subject) REFERENCES public.subjects(key);
ALTER TABLE ONLY public.templates
    ADD CONSTRAINT templates_encounter_fkey FOREIGN KEY (encounter) REFERENCES public.encounters(key);

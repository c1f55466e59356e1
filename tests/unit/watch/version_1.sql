-- The state database as written by versions of the program that did not store a schema version, with one row per table.
create table lease (
    container varchar(200) not null primary key, holder varchar(32) not null, place varchar(200) not null,
    pid integer not null, beat integer not null);
create table failure (
    container varchar(200) not null, image varchar(200) not null, recipe varchar(200) not null, version text not null,
    name text not null, attempts integer not null, kind varchar(10) not null, reason text not null,
    retry_at float not null, primary key (container, image, recipe));
create table run (
    run_id varchar(40) not null primary key, container varchar(200) not null, name text not null,
    recipe varchar(200) not null, recipe_hash varchar(64) not null, origin text not null, place varchar(200) not null,
    folder text not null, state varchar(12) not null, started float not null, ended float, images integer not null,
    done integer not null, failed integer not null, message text not null, sheet text not null);
create index ix_run_container on run (container);
create table pause (container varchar(200) not null primary key);
create table watcher (
    holder varchar(32) not null primary key, place varchar(200) not null, pid integer not null, beaten float not null,
    passes integer not null, healthy boolean not null, message text not null);
insert into lease values ('Dataset:1', 'a', 'here', 1, 7);
insert into failure values ('Dataset:1', 'Image:2', 'nuclei', 'v1 hash', 'two', 3, 'aside', 'no such plane', 1000.5);
insert into run values (
    '20261121T053000-000001', 'Dataset:1', 'd', 'nuclei', 'hash', 'watch ''w''', 'installation', '/', 'interrupted',
    1000.5, null, 2, 1, 0, 'disk full', '');
insert into pause values ('Plate:3');
insert into watcher values ('a', 'here', 1, 1000.5, 12, true, 'passes completed: 12');

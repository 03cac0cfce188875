CREATE ROLE keycloak NOLOGIN;

CREATE ROLE keycloak_a LOGIN;

CREATE ROLE keycloak_b LOGIN;

GRANT keycloak TO keycloak_a, keycloak_b WITH INHERIT TRUE, SET TRUE;

ALTER ROLE keycloak_a SET role = 'keycloak';

ALTER ROLE keycloak_b SET role = 'keycloak';

CREATE DATABASE keycloak OWNER keycloak;

REVOKE CONNECT, TEMPORARY ON DATABASE keycloak FROM PUBLIC;

GRANT CONNECT ON DATABASE keycloak TO keycloak_a, keycloak_b;


#!/bin/bash
# Succeeds when Keycloak is ready: realms answer and the database does.
exec 3<>/dev/tcp/127.0.0.1/9000 && printf 'GET /health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3 && read -r -t 4 _ status _ <&3 && [[ $status == 200 ]]

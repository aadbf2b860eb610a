#!/bin/sh
# Written by 'testbed grafana'. Maps the database that InfluxQL names to the bucket that the servers write to.
set -eu
if influx v1 dbrp list --org "$DOCKER_INFLUXDB_INIT_ORG" --db shardpay | grep -q shardpay; then
    exit 0
fi
influx v1 dbrp create --db shardpay --rp autogen --default \
    --org "$DOCKER_INFLUXDB_INIT_ORG" --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID"

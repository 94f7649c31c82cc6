// The RabbitMQ client of the demo: the one that the tests install.

import {createRequire} from 'node:module';

export const amqp = createRequire(new URL('../testing/rabbit/package.json', import.meta.url))('amqplib');

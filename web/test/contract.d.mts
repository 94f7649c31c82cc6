export function hold(value: unknown, schema: object, spec: object, place: string, errors: string[]): void;

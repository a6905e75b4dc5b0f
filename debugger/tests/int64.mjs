// The 64-bit library type of WinDbg's JavaScript provider, as "Work With 64-Bit Values in JavaScript Extensions" documents
// it: only the documented methods, so that the script under test can rely on nothing else.

const MASK = (1n << 64n) - 1n;

export function makeInt64({ signedParts = false, strict = true } = {}) {
    const raw = (value) => {
        if (value instanceof Int64) return value.__value;
        if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value) & MASK;
        throw new TypeError(`no 64-bit value: ${typeof value} ${String(value)}`);
    };
    const part = (value) => (signedParts ? Number(BigInt.asIntN(32, value)) : Number(value & 0xffffffffn));

    class Int64 {
        constructor(value, highValue) {
            const bits = highValue === undefined
                ? raw(value)
                : (BigInt(highValue >>> 0) << 32n) | BigInt(value >>> 0);
            Object.defineProperty(this, "__value", { value: bits });
        }
        static of(bits) {
            return new Int64(Number(bits & 0xffffffffn), Number((bits >> 32n) & 0xffffffffn));
        }
        asNumber() {
            if (this.__value > BigInt(Number.MAX_SAFE_INTEGER)) {
                throw new Error("64 bit value loses precision on conversion to number");
            }
            return Number(this.__value);
        }
        convertToNumber() { return Number(this.__value); }
        getLowPart() { return part(this.__value & 0xffffffffn); }
        getHighPart() { return part(this.__value >> 32n); }
        add(other) { return Int64.of((this.__value + raw(other)) & MASK); }
        subtract(other) { return Int64.of((this.__value - raw(other)) & MASK); }
        multiply(other) { return Int64.of((this.__value * raw(other)) & MASK); }
        divide(other) { return Int64.of(this.__value / raw(other)); }
        bitwiseAnd(other) { return Int64.of(this.__value & raw(other)); }
        bitwiseOr(other) { return Int64.of(this.__value | raw(other)); }
        bitwiseXor(other) { return Int64.of(this.__value ^ raw(other)); }
        bitwiseShiftLeft(by) { return Int64.of((this.__value << raw(by)) & MASK); }
        bitwiseShiftRight(by) { return Int64.of(this.__value >> raw(by)); }
        toString(radix = 16) { return (radix === 16 ? "0x" : "") + this.__value.toString(radix); }
        valueOf() {
            // The real type converts where nothing is lost. What works only for small values is a bug that waits for a
            // large one, so a strict host never converts.
            if (strict) throw new Error("a 64-bit value was used as a number");
            return this.asNumber();
        }
    }
    return Int64;
}
